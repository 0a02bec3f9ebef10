"""Hugging Face hub checkpoints, through its own client, whose environment sets cache, token and offline mode."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from ..errors import CheckpointError, ModelNotFoundError
from .files import CONFIG_FILES, INDEX_SUFFIX, WEIGHT_FILES, read_json

_ID = re.compile(r"(?:hf-hub:|hf_hub:)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def parse(source: str) -> tuple[str, str | None] | None:
    """Hub id `owner/name` or `owner/name@revision` (branch, tag or commit) split into both; None for anything else."""
    match = _ID.fullmatch(source)
    return (match[1], match[2]) if match and not source.startswith(".") else None


def fetch(repository: str, revision: str | None) -> Path:
    """Snapshot folder in the hub's cache with the checkpoint's files; those that are missing are downloaded.

    Only the first format in `WEIGHT_FILES` that the repository has is downloaded.

    Raises:
        ModelNotFoundError: no such repository or revision, no access, no weights in it, or the hub cannot be reached
            and the files are not in the cache.
        CheckpointError: an index names a missing file.
    """
    remote = _Repository(repository, revision)
    for name in WEIGHT_FILES:
        folder = remote.download(*CONFIG_FILES, name)
        if (folder / name).is_file():
            if name.endswith(INDEX_SUFFIX):
                _fetch_shards(remote, folder / name)
            return folder
    raise ModelNotFoundError(remote.no_weights_message())


def cached() -> Iterator[tuple[str, Path]]:
    """Cached model repositories: id (with `@revision` unless that is `main`) and snapshot folder."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return
    for repository in sorted(repositories, key=lambda repository: repository.repo_id):
        for revision in repository.revisions if repository.repo_type == "model" else ():
            for ref in sorted(revision.refs) or [revision.commit_hash]:
                name = repository.repo_id if ref == "main" else f"{repository.repo_id}@{ref}"
                yield name, Path(revision.snapshot_path)


def _fetch_shards(remote: "_Repository", index: Path) -> None:
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    folder = remote.download(*map(escape, names))
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"{remote.label}: {index.name} names {name}, which is missing")


@dataclass(slots=True)
class _Repository:
    """Repository at one revision; all files are of one commit."""

    repository: str
    revision: str | None
    commit: str | None = None
    """Commit of the revision at the first download."""

    @property
    def label(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    def download(self, *names: str) -> Path:
        """Snapshot folder with the repository's files of these names, downloaded where missing."""
        from huggingface_hub import errors, snapshot_download

        with self._translated_errors():
            try:
                revision = self.commit or self.revision
                folder = Path(snapshot_download(self.repository, revision=revision, allow_patterns=list(names)))
            except errors.LocalEntryNotFoundError as error:
                # an incomplete snapshot may still hold the files that are needed
                incomplete: str | None = getattr(error, "snapshot_path", None)
                if incomplete is None:
                    raise ModelNotFoundError(self._not_cached_message()) from error
                folder = Path(incomplete)
        self.commit = folder.name
        return folder

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError as error:
            raise ModelNotFoundError(
                f"{self.repository} is gated: accept its terms on the hub, then set HF_TOKEN or run `hf auth login`"
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise ModelNotFoundError(
                f"the hub has no model {self.repository!r}, or it is private: check the name, or set HF_TOKEN"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise ModelNotFoundError(f"{self.repository} has no revision {self.revision!r} on the hub") from error
        except (errors.HFValidationError, errors.HfHubHTTPError) as error:
            raise ModelNotFoundError(f"the hub rejects {self.label!r}: {error}") from error

    def no_weights_message(self) -> str:
        """Error message for missing weights: the hub has none, or it cannot be reached and the cache has none."""
        from huggingface_hub import errors, hf_hub_download

        with self._translated_errors():
            try:
                hf_hub_download(self.repository, WEIGHT_FILES[0], revision=self.revision)
            except errors.LocalEntryNotFoundError:
                return self._not_cached_message()
            except errors.EntryNotFoundError:
                pass
        return f"{self.label} on the hub has no weights: none of {', '.join(WEIGHT_FILES)}"

    def _not_cached_message(self) -> str:
        from huggingface_hub import constants

        refs = Path(constants.HF_HUB_CACHE) / f"models--{self.repository.replace('/', '--')}" / "refs"
        revisions = sorted(str(ref.relative_to(refs)) for ref in refs.rglob("*") if ref.is_file())
        state = f"the cache has its revisions {', '.join(revisions)}" if revisions else "the cache has nothing of it"
        offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        return (
            f"{self.label} is not in the cache ({constants.HF_HUB_CACHE}) and {offline}; {state}. "
            f"Run `hf download {self.repository}` where there is network and set HF_HOME to that cache, or give a path"
        )
