"""Checkpoints on the Hugging Face hub, through its own client: cache, tokens and offline mode are its environment's."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from ..errors import CheckpointError, ModelNotFoundError
from .files import CONFIG_FILES, INDEX_SUFFIX, WEIGHT_FILES, read_json

_ID = re.compile(r"(?:hf-hub:|hf_hub:)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def parse(place: str) -> tuple[str, str | None] | None:
    """`owner/name` or `owner/name@revision` (a branch, tag or commit) -> both parts, or None: not a hub id."""
    found = _ID.fullmatch(place)
    return (found[1], found[2]) if found and not place.startswith(".") else None


def fetch(repository: str, revision: str | None) -> Path:
    """The folder of the hub's cache with the checkpoint's files, downloaded where they are not there yet.

    Only the first format in `WEIGHT_FILES` that the repository has is downloaded.

    Raises:
        ModelNotFoundError: no such repository or revision, no access, no weights in it, or the hub cannot be reached
            and they are not in the cache.
        CheckpointError: an index names a file that is not there.
    """
    remote = _Repository(repository, revision)
    for name in WEIGHT_FILES:
        folder = remote.download(*CONFIG_FILES, name)
        if (folder / name).is_file():
            if name.endswith(INDEX_SUFFIX):
                _fetch_shards(remote, folder / name)
            return folder
    raise ModelNotFoundError(remote.absence())


def cached() -> Iterator[tuple[str, Path]]:
    """Model repositories in the hub's cache: id (with `@` and revision where it is not `main`) and folder."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda found: found.repo_id):
        for revision in repository.revisions if repository.repo_type == "model" else ():
            for ref in sorted(revision.refs) or [revision.commit_hash]:
                name = repository.repo_id if ref == "main" else f"{repository.repo_id}@{ref}"
                yield name, Path(revision.snapshot_path)


def _fetch_shards(remote: "_Repository", index: Path) -> None:
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    folder = remote.download(*map(escape, names))
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"{remote.label}: {index.name} names {name}, which is not there")


@dataclass(slots=True)
class _Repository:
    """Files of one repository at one revision, all of one commit."""

    repository: str
    revision: str | None
    commit: str | None = None
    """Which the revision was when first looked at."""

    @property
    def label(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    def download(self, *names: str) -> Path:
        """The snapshot's folder, with all files of these names that the repository has."""
        from huggingface_hub import errors, snapshot_download

        with self._errors_named():
            try:
                revision = self.commit or self.revision
                folder = Path(snapshot_download(self.repository, revision=revision, allow_patterns=list(names)))
            except errors.LocalEntryNotFoundError as error:
                part: str | None = getattr(error, "snapshot_path", None)  # which may hold all that is needed
                if part is None:
                    raise ModelNotFoundError(self._not_cached()) from error
                folder = Path(part)
        self.commit = folder.name
        return folder

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError as error:
            raise ModelNotFoundError(
                f"{self.repository} asks for consent: accept its terms on the hub, then set HF_TOKEN or `hf auth login`"
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise ModelNotFoundError(
                f"the hub has no model {self.repository!r}, or it is private: check the name, or set HF_TOKEN"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise ModelNotFoundError(f"{self.repository} has no revision {self.revision!r} on the hub") from error
        except (errors.HFValidationError, errors.HfHubHTTPError) as error:
            raise ModelNotFoundError(f"the hub refuses {self.label!r}: {error}") from error

    def absence(self) -> str:
        """Why there are no weights: the hub has none, or it cannot be reached and the cache has none."""
        from huggingface_hub import errors, hf_hub_download

        with self._errors_named():
            try:
                hf_hub_download(self.repository, WEIGHT_FILES[0], revision=self.revision)
            except errors.LocalEntryNotFoundError:
                return self._not_cached()
            except errors.EntryNotFoundError:
                pass
        return f"{self.label} on the hub has no weights: none of {', '.join(WEIGHT_FILES)}"

    def _not_cached(self) -> str:
        from huggingface_hub import constants

        refs = Path(constants.HF_HUB_CACHE) / f"models--{self.repository.replace('/', '--')}" / "refs"
        revisions = sorted(str(ref.relative_to(refs)) for ref in refs.rglob("*") if ref.is_file())
        held = f"the cache has its revisions {', '.join(revisions)}" if revisions else "the cache has nothing of it"
        offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        return (
            f"{self.label} is not in the cache ({constants.HF_HUB_CACHE}) and {offline}; {held}. Where there is "
            f"network, `hf download {self.repository}`; set HF_HOME to that cache, or give a path to the files"
        )
