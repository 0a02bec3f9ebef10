"""Checkpoint files in both formats; anything else is rejected with its content named."""

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tessella.models.checkpoints.files import read_shapes, read_tensors
from tessella.models.errors import CheckpointError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in WEIGHTS.items()}


class Code:
    """Object whose pickle runs a command when it is loaded."""

    def __reduce__(self) -> Any:
        return os.system, ("echo this must not run",)


def same(tensors: dict[str, Tensor]) -> bool:
    return tensors.keys() == WEIGHTS.keys() and all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)


def test_safetensors(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    assert same(read_tensors([tmp_path / "a.safetensors"]))
    assert read_shapes([tmp_path / "a.safetensors"]) == {"a.weight": (2, 3), "a.bias": (2,)}


def test_several_files_are_one_checkpoint(tmp_path: Path) -> None:
    files = [tmp_path / name for name in WEIGHTS]
    for file in files:
        save_file({file.name: WEIGHTS[file.name]}, file)
    assert same(read_tensors(files))
    assert read_shapes(files) == {"a.weight": (2, 3), "a.bias": (2,)}


@pytest.mark.parametrize(
    "wrapped",
    [
        WEIGHTS,
        {"model": WEIGHTS},
        {"state_dict": WEIGHTS, "epoch": 3, "args": argparse.Namespace(lr=0.1), "optimizer": {"lr": 0.1}},
        {"model": {"a.weight": torch.zeros(2, 3)}, "model_ema": WEIGHTS},
        {f"module.{name}": tensor for name, tensor in WEIGHTS.items()},
        {"state_dict": prefixed("_orig_mod.")},
        prefixed("_orig_mod.module."),
        prefixed("module._orig_mod.model.net."),
        {"model": {"state_dict": prefixed("module.backbone.")}},
        {"model_state_dict": WEIGHTS, "loss": np.float64(0.5), "path": Path("runs/1"), "best": np.float32(0.1)},
        {"model": {"name": "vit"}, "net": WEIGHTS},
        {"ema": WEIGHTS, "state_dict": {"a.weight": torch.zeros(2, 3)}},
        prefixed("module.") | {"n_averaged": torch.tensor(3)},
    ],
    ids=[
        *("bare", "model", "state_dict beside other things", "EMA first", "module.", "_orig_mod."),
        *(
            "compiled DDP",
            "four prefixes",
            "keys and prefixes",
            "NumPy scalars and paths",
            "options",
            "ema",
            "averaged",
        ),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled(wrapped: Any, zipped: bool, tmp_path: Path) -> None:
    torch.save(wrapped, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_tensors([tmp_path / "a.pth"]))
    assert read_shapes([tmp_path / "a.pth"]) == {"a.weight": (2, 3), "a.bias": (2,)}


def test_the_attribute_of_a_training_module_is_a_prefix(tmp_path: Path) -> None:
    names = ("patch_embed.proj.weight", "cls_token", "blocks.0.norm1.weight")
    save_file({f"lit.encoder.{name}": torch.zeros(1) for name in names}, tmp_path / "a.safetensors")
    assert set(read_tensors([tmp_path / "a.safetensors"])) == set(names)
    assert set(read_shapes([tmp_path / "a.safetensors"])) == set(names)


def test_the_teacher_is_taken_and_reported(tmp_path: Path) -> None:
    torch.save({"student": {"a.weight": torch.zeros(2, 3)}, "teacher": WEIGHTS}, tmp_path / "a.pth")
    with pytest.warns(UserWarning, match=r"a\.pth: the weights of the teacher are used, not those of the student"):
        assert same(read_tensors([tmp_path / "a.pth"]))


def test_values_beside_the_weights_are_not_built(tmp_path: Path) -> None:
    """Their types are replaced, so that NumPy's and pathlib's own code does not see the file."""
    torch.save({"model": WEIGHTS | {"a": np.float64(0.5)}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"holds a, which are no tensors"):
        read_tensors([tmp_path / "a.pth"])


def test_the_format_is_recognised_by_content_not_by_suffix(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.bin")
    torch.save(WEIGHTS, tmp_path / "a.safetensors")
    assert same(read_tensors([tmp_path / "a.bin"]))
    assert same(read_tensors([tmp_path / "a.safetensors"]))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("read", [read_tensors, read_shapes])
def test_a_pickle_with_code_is_rejected_and_does_not_run(
    read: Any, zipped: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": Code()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"a\.pth is rejected: .*system.*state dict, preferably as safetensors"):
        read([tmp_path / "a.pth"])
    assert "must not run" not in capfd.readouterr().out


def test_a_bare_pickle_with_code_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Code(), protocol=2))
    with pytest.raises(CheckpointError):
        read_tensors([tmp_path / "a.pth"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty; expected a safetensors file or a PyTorch checkpoint"),
        (b"these are the weights, honestly", r"begins with b'these are the we'"),
        (b"{}", r"begins with b'\{\}'"),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": 1', r"damaged or truncated safetensors"),
        (b"PK\x03\x04 no archive", r"damaged or truncated PyTorch checkpoint"),
        (b"\x80\x02 no pickle", r"is rejected|damaged or truncated"),
    ],
)
def test_content_that_is_no_checkpoint(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_tensors([file])
    with pytest.raises(CheckpointError, match=message):
        read_shapes([file])


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_truncated_anywhere(name: str, kept: float, tmp_path: Path) -> None:
    whole = {"a": torch.ones(1000)}
    file = tmp_path / name
    if name.endswith("pth"):
        torch.save(whole, file)
    else:
        save_file(whole, file)
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_tensors([file])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1, 2], r"holds list; expected a state dict"),
        ({}, r"holds dict; expected a state dict"),
        ({"epoch": 3, "weights": {}}, r"holds epoch, weights, which are no tensors"),
    ],
)
def test_a_pickle_without_state_dict(document: Any, message: str, tmp_path: Path) -> None:
    torch.save(document, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message):
        read_tensors([tmp_path / "a.pth"])


def test_an_archive_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="damaged or truncated PyTorch checkpoint"):
        read_tensors([tmp_path / "a.pth"])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "a.pt"))
    with pytest.raises(
        CheckpointError, match=r"a\.pt is a TorchScript program.*torch\.jit\.load\('a\.pt'\)\.state_dict"
    ):
        read_tensors([tmp_path / "a.pt"])


def test_numpy_arrays_are_refused_with_the_way_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", kernel=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"a\.npz holds NumPy arrays.*timm\.create_model"):
        read_tensors([tmp_path / "a.npz"])


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    if os.geteuid():
        (tmp_path / "a.safetensors").chmod(0)
    else:  # the superuser may read everything

        def deny(*_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(CheckpointError, match=r"a\.safetensors cannot be read: Permission denied"):
        read_tensors([tmp_path / "a.safetensors"])
