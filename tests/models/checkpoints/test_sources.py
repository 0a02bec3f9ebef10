"""Sources: shipped names, files, folders, shards; and the errors for anything else."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tessella.models.checkpoints.sources import locate, onnx_file, served_name, shipped
from tessella.models.errors import CheckpointError, ModelNotFoundError


def put(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"a": torch.zeros(1)}, file)
    return file


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("digits-vit", "digits-vit"),
        ("runs/7/weights.safetensors", "weights"),
        ("runs/7/", "7"),
        ("weights.pth", "weights"),
        ("train/model_best.pth.tar", "model_best"),
        ("last.ckpt", "last"),
        ("timm/vit_tiny_patch16_224.augreg_in21k", "vit_tiny_patch16_224.augreg_in21k"),
        ("me/vit@v1.0", "vit"),
        ("mine=me/vit@v1.0", "mine"),
        ("mine=weights.pth", "mine"),
    ],
)
def test_served_names(source: str, name: str) -> None:
    assert served_name(source) == name


def test_a_file_with_a_config_beside_it(tmp_path: Path) -> None:
    file = put(tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    source = locate(str(file))
    assert (source.name, source.weights, source.config) == ("a", (file,), {"model_type": "vit"})
    assert source.preprocessor is None


def test_a_file_whose_name_has_an_equals_sign(tmp_path: Path) -> None:
    file = put(tmp_path / "lr=0.1.safetensors")
    assert locate(str(file)).weights == (file,)
    assert locate(f"mine={file}").name == "mine"


def test_a_folder_prefers_safetensors(tmp_path: Path) -> None:
    file = put(tmp_path / "model.safetensors")
    torch.save({}, tmp_path / "pytorch_model.bin")
    assert locate(str(tmp_path)).weights == (file,)


def test_a_folder_with_one_file_of_another_name(tmp_path: Path) -> None:
    file = put(tmp_path / "best.safetensors")
    assert locate(str(tmp_path)).weights == (file,)


@pytest.mark.parametrize("name", ["model_best.pth.tar", "epoch=3.ckpt"])
def test_a_folder_of_a_training_run(name: str, tmp_path: Path) -> None:
    file = put(tmp_path / name)
    (tmp_path / "args.yaml").write_text("lr: 0.1")
    assert locate(str(tmp_path)).weights == (file,)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "checkpoint-500/model.safetensors"])
def test_weights_one_folder_below_are_named(name: str, tmp_path: Path) -> None:
    put(tmp_path / name)
    with pytest.raises(ModelNotFoundError, match=rf"holds no checkpoint.*below it are {name}: name one"):
        locate(str(tmp_path))


def test_an_adapter_is_refused_with_the_way_out(tmp_path: Path) -> None:
    put(tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(CheckpointError, match=r"holds an adapter, such as LoRA's.*merge_and_unload"):
        locate(str(tmp_path))


def test_a_folder_with_several_checkpoints_is_ambiguous(tmp_path: Path) -> None:
    put(tmp_path / "a.safetensors")
    put(tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"several checkpoints \(a\.safetensors, b\.safetensors\): name one"):
        locate(str(tmp_path))


def test_shards(tmp_path: Path) -> None:
    files = (put(tmp_path / "x-1.safetensors"), put(tmp_path / "x-2.safetensors"))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"b": "x-2.safetensors", "a": "x-1.safetensors"}}))
    assert locate(str(tmp_path)).weights == files


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list; expected a JSON object"),
        ("{}", "names no files: expected a `weight_map`"),
        ('{"weight_map": {"a": "absent.safetensors"}}', r"names absent\.safetensors, which is not in its folder"),
        ('{"weight_map": {"a": "../up.safetensors"}}', r"names up\.safetensors, which is not in its folder"),
    ],
)
def test_a_broken_index(index: str, message: str, tmp_path: Path) -> None:
    put(tmp_path / "up.safetensors")
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=message):
        locate(str(tmp_path / "large"))


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    file = put(tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text("not json")
    with pytest.raises(CheckpointError, match=r"config\.json is not JSON"):
        locate(str(file))


def test_a_name_that_is_too_long_for_a_path() -> None:
    with pytest.raises((CheckpointError, ModelNotFoundError)):
        locate("x" * 5000)


def test_shipped_checkpoints_are_found_by_name() -> None:
    for name in shipped():
        assert locate(name).weights[0].is_file()


def test_a_folder_with_several_onnx_files_is_ambiguous(tmp_path: Path) -> None:
    for name in ("model.onnx", "model_int8.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"no weights, but model\.onnx, model_int8\.onnx: name one file"):
        locate(str(tmp_path))


def test_a_folder_with_one_onnx_file_and_no_weights_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert onnx_file(str(tmp_path)) is None
    (tmp_path / "m.onnx").touch()
    assert onnx_file(f"mine={tmp_path}") == tmp_path / "m.onnx"
    (tmp_path / "n.onnx").touch()
    assert onnx_file(str(tmp_path)) is None, "two candidates"
    (tmp_path / "n.onnx").rename(tmp_path / "n.safetensors")
    assert onnx_file(str(tmp_path)) is None, "weights come first"
    assert onnx_file("x" * 5000) is None
