"""Hub checkpoints in a local cache with the hub's layout (refs, snapshots, blobs); no network access."""

import json
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tessella.models.checkpoints import hub
from tessella.models.errors import CheckpointError, ModelNotFoundError
from tessella.models.registry import describe, load_network

from ...support.references import timm_network, write_timm

COMMIT, OLDER = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty cache, offline."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, repository: str, folder: Path, commit: str = COMMIT, ref: str | None = "main") -> Path:
    """Store a folder's files in the cache as a download does: one blob each, linked from the snapshot."""
    root = cache / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (root / "blobs").mkdir(exist_ok=True)
    for file in folder.iterdir():
        blob = root / "blobs" / f"{commit[:8]}-{file.name}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(blob)
    if ref is not None:
        (root / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (root / "refs" / ref).write_text(commit)
    return snapshot


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = timm_network("vit_tiny_patch16_224", depth=1, img_size=80, num_classes=3)
    return write_timm(network, tmp_path_factory.mktemp("tiny"))


def test_an_id_loads_from_the_cache_with_its_preprocessing(cache: Path, tiny: Path) -> None:
    put(cache, "timm/vit_tiny_patch16_224.augreg_in21k", tiny)
    description = describe("timm/vit_tiny_patch16_224.augreg_in21k")
    assert description.name == "vit_tiny_patch16_224.augreg_in21k"
    assert (description.config.num_classes, description.preprocessing.size) == (3, 80)
    assert description.preprocessing.interpolation == "bicubic"
    assert load_network("hf-hub:timm/vit_tiny_patch16_224.augreg_in21k").config == description.config
    assert describe("mine=timm/vit_tiny_patch16_224.augreg_in21k").name == "mine"


def test_a_tag_a_branch_and_a_commit_are_revisions(cache: Path, tiny: Path, tmp_path_factory: Any) -> None:
    older = write_timm(
        timm_network("vit_tiny_patch16_224", depth=2, img_size=80, num_classes=4), tmp_path_factory.mktemp("older")
    )
    put(cache, "me/vit", tiny)
    put(cache, "me/vit", older, OLDER, "v1.0")
    assert describe("me/vit").config.num_classes == 3
    for revision in ("v1.0", OLDER):
        assert describe(f"me/vit@{revision}").config.num_classes == 4
        assert describe(f"me/vit@{revision}").name == "vit"


def test_a_missing_revision_error_lists_the_cached_ones(cache: Path, tiny: Path) -> None:
    put(cache, "me/vit", tiny)
    put(cache, "me/vit", tiny, OLDER, "pr/7")
    with pytest.raises(ModelNotFoundError, match=r"me/vit@v2 is not in the cache .*HF_HUB_OFFLINE.*main, pr/7"):
        describe("me/vit@v2")


def test_an_uncached_id_error_names_the_remedies(cache: Path) -> None:
    expected = r"the cache has nothing of it.*`hf download timm/absent`.* set HF_HOME .*or give a path"
    with pytest.raises(ModelNotFoundError, match=expected):
        describe("timm/absent")


def test_a_cached_repository_without_weights_is_an_error(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("empty")
    (folder / "config.json").write_text("{}")
    put(cache, "me/empty", folder)
    with pytest.raises(ModelNotFoundError, match="me/empty is not in the cache"):
        describe("me/empty")


def test_shards_are_fetched_by_their_index(cache: Path, tiny: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(tiny / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, tiny / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (tiny / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (tiny / "model.safetensors").unlink()
    snapshot = put(cache, "me/large", tiny)
    assert load_network("me/large").config.num_classes == 3
    (snapshot / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"me/large: .*names model-00002-of-00002"):
        describe("me/large")


def _raising(error: Callable[[], Exception]) -> Callable[..., str]:
    def fail(*_: Any, **__: Any) -> str:
        raise error()

    return fail


def _hub_error(kind: type[Exception]) -> Exception:
    import httpx

    return kind("no", response=httpx.Response(404, request=httpx.Request("GET", "https://hub.invalid")))  # type: ignore


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (RepositoryNotFoundError, r"the hub has no model 'me/vit', or it is private.*HF_TOKEN"),
        (GatedRepoError, r"me/vit is gated.*HF_TOKEN"),
        (RevisionNotFoundError, r"me/vit has no revision 'v9'"),
    ],
)
def test_errors_of_the_hub_are_translated(kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", _raising(lambda: _hub_error(kind)))
    with pytest.raises(ModelNotFoundError, match=message):
        hub.fetch("me/vit", "v9")


def test_an_unreachable_hub_is_tried_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []

    def unreachable(repository: str, **_: Any) -> str:
        requested.append(repository)
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelNotFoundError, match="the hub cannot be reached"):
        hub.fetch("me/vit", None)
    assert requested == ["me/vit"]


class Hub:
    """Stub of the hub's API for one repository: a commit, its files, and a record of downloads."""

    def __init__(self, cache: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        self.downloaded: list[str] = []
        self.revisions: list[str | None] = []
        self._folder, self._files = cache / "models--me--vit" / "snapshots" / COMMIT, files
        monkeypatch.setattr("huggingface_hub.snapshot_download", self._snapshot)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", _raising(lambda: _hub_error(RemoteEntryNotFoundError)))

    def _snapshot(self, repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.revisions.append(revision)
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in self._files:
            allowed = any(fnmatch(name, pattern) for pattern in allow_patterns)
            if allowed and not (self._folder / name).exists():
                (self._folder / name).write_bytes(self._files[name])
                self.downloaded.append(name)
        return str(self._folder)


INDEX = json.dumps({"weight_map": {"a": "model-[1].bin", "b": "model-2.bin"}}).encode()
OTHERS = {"README.md": b"", "model.onnx": b"", "tf_model.h5": b"", "config.json": b"{}"}


@pytest.mark.parametrize(
    ("weights", "downloaded"),
    [
        (("model.safetensors", "pytorch_model.bin"), ["model.safetensors"]),
        (("pytorch_model.bin",), ["pytorch_model.bin"]),
        (
            ("pytorch_model.bin.index.json", "model-[1].bin", "model-2.bin", "model-1.bin"),
            ["model-2.bin", "model-[1].bin", "pytorch_model.bin.index.json"],
        ),
    ],
)
def test_one_format_is_downloaded_and_nothing_else(
    weights: tuple[str, ...], downloaded: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Hub(cache, OTHERS | {name: INDEX if name.endswith(".json") else b"" for name in weights}, monkeypatch)
    assert hub.fetch("me/vit", "v1").name == COMMIT
    assert sorted(remote.downloaded) == ["config.json", *downloaded]
    assert remote.revisions == ["v1", *[COMMIT] * (len(remote.revisions) - 1)], "files of two commits may be mixed"


def test_a_remote_repository_without_weights_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(cache, OTHERS, monkeypatch)
    with pytest.raises(ModelNotFoundError, match=r"me/vit@v1 on the hub has no weights: none of model\.safetensors"):
        hub.fetch("me/vit", "v1")


def test_an_incomplete_snapshot_serves_offline(cache: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = put(cache, "me/vit", tiny)
    incomplete = IncompleteSnapshotError("README.md is missing", snapshot_path=str(snapshot))
    monkeypatch.setattr("huggingface_hub.snapshot_download", _raising(lambda: incomplete))
    assert hub.fetch("me/vit", None) == snapshot


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("timm/vit_tiny_patch16_224.augreg_in21k", ("timm/vit_tiny_patch16_224.augreg_in21k", None)),
        ("hf-hub:timm/vit@main", ("timm/vit", "main")),
        ("me/vit@refs/pr/7", ("me/vit", "refs/pr/7")),
        ("vit_tiny_patch16_224", None),
        ("a/b/c", None),
        ("./a", None),
        ("../a", None),
        ("/a/b", None),
    ],
)
def test_parsing_of_hub_ids(source: str, expected: tuple[str, str | None] | None) -> None:
    assert hub.parse(source) == expected


def test_cached_repositories(cache: Path, tiny: Path) -> None:
    assert list(hub.cached()) == []
    main = put(cache, "me/vit", tiny)
    other = put(cache, "me/vit", tiny, OLDER, "v1.0")
    assert sorted(hub.cached()) == [("me/vit", main), ("me/vit@v1.0", other)]
