"""Model loading: classifiers, plain networks and descriptions from every kind of source."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tessella.models.checkpoints.description import HEADER_KEY, Description
from tessella.models.checkpoints.sources import shipped
from tessella.models.config import TNTConfig, ViTConfig
from tessella.models.errors import CheckpointError, ModelNotFoundError
from tessella.models.networks.build import build
from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.registry import describe, load_model, load_network

from ..support.references import distance, images, timm_network, write_json, write_timm, write_weights

LABELS = ("cat", "dog", "fox")


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return timm_network("vit_tiny_patch16_224", depth=1, img_size=80, num_classes=3).state_dict()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder in timm's layout."""
    return write_timm(timm_network("vit_tiny_patch16_224", depth=1, img_size=80, num_classes=3), tmp_path / "tiny")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Checkpoint in our own layout."""
    from safetensors.torch import save_file

    config = ViTConfig(image_size=32, patch_size=8, dim=64, depth=1, heads=2, mlp_dim=128, num_classes=3)
    preprocessing = Preprocessing(size=32, resize=40)
    description = Description(name="own", config=config, preprocessing=preprocessing, labels=LABELS)
    file = tmp_path / "own.safetensors"
    save_file(build(config).state_dict(), file, metadata={HEADER_KEY: description.to_json()})
    return file


def test_a_folder_in_timms_layout_is_a_classifier_with_its_preprocessing(folder: Path) -> None:
    model = load_model(str(folder), device="cpu", dtype="float32")
    pixels = model.preprocess(Image.new("RGB", (100, 90), "red"))
    assert (model.name, model.backend, model.dtype) == ("tiny", "torch", torch.float32)
    assert pixels.shape == (80, 80, 3)
    assert model.logits(pixels[None]).shape == (1, 3)
    assert model.embeddings(pixels[None]).shape == (1, 192)
    assert model.choice.endswith(".")


def test_network_and_classifier_give_the_same_logits(folder: Path) -> None:
    model, network = load_model(str(folder), device="cpu", dtype="float32"), load_network(str(folder))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 3), dtype=np.uint8)
    floats = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    assert not network.training
    with torch.inference_mode():
        assert torch.allclose(model.logits(pixels), network(floats), atol=1e-5)
        assert torch.allclose(model.logits(torch.from_numpy(pixels)), network(floats), atol=1e-5)


def test_bare_weights_load_with_a_warning_of_inferred_settings(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": tensors}, tmp_path / "bare.pth")
    with pytest.warns(
        UserWarning, match=r"bare lacks settings, which were inferred.*heads 3.*preprocessing is not given"
    ):
        model = load_model(str(tmp_path / "bare.pth"))
    assert model.labels == ("class 0", "class 1", "class 2")


def test_an_architecture_beside_bare_weights_is_enough(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    file = write_weights(tensors, tmp_path / "bare.safetensors")
    write_json({"architecture": "deit_tiny_patch16_224"}, tmp_path / "config.json")
    description = describe(str(file))
    assert description.preprocessing.mean == (0.485, 0.456, 0.406)
    (assumption,) = description.notes["inferred"]
    assert "preprocessing" in assumption


@pytest.mark.parametrize(
    ("model_args", "size", "note"),
    [
        ({}, 80, "image size 80, as the position table shows; input_size in config.json is 64"),
        (
            {"img_size": [96, 96]},
            96,
            "image size 96, as img_size in model_args states; input_size in config.json is 64",
        ),
        ({"dynamic_img_size": True}, 64, None),
    ],
    ids=["position table", "img_size", "any size"],
)
def test_the_networks_image_size_outweighs_input_size(
    model_args: dict[str, Any], size: int, note: str | None, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    file = write_weights(tensors, tmp_path / "model.safetensors")
    pretrained = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.8}
    config = {"architecture": "vit_tiny_patch16_224", "model_args": model_args, "pretrained_cfg": pretrained}
    write_json(config, tmp_path / "config.json")
    description = describe(str(file))
    assert (description.preprocessing.size, description.preprocessing.resize) == (size, int(size / 0.8))
    assert description.notes["inferred"] == ([note] if note else [])
    assert describe(str(file), image_size=112).preprocessing.size == 112
    assert load_network(str(file))(torch.zeros(1, 3, size, size)).shape == (1, 3)


@torch.inference_mode()
def test_mean_pooled_weights_under_a_named_architecture(tmp_path: Path) -> None:
    reference = timm_network("vit_tiny_patch16_224", depth=1, img_size=80, num_classes=3, global_pool="avg")
    torch.save({"model": reference.state_dict()}, tmp_path / "finetuned.pth")
    ours = load_network(str(tmp_path / "finetuned.pth"), architecture="vit_tiny_patch16_224")
    assert distance(ours(images(80)), reference(images(80))) <= 1e-4


def test_labels_come_from_the_checkpoint(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    file = write_weights(tensors, tmp_path / "model.safetensors")
    write_json(
        {"architecture": "vit_tiny_patch16_224", "label_names": ["a", "b", "c"], "label_descriptions": {"b": "bee"}},
        tmp_path / "config.json",
    )
    assert describe(str(file)).labels == ("a", "bee", "c")


def test_hugging_faces_config_files_are_read(tmp_path: Path) -> None:
    import transformers

    options = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    labels = dict(enumerate(LABELS))
    config = transformers.ViTConfig(**options, image_size=32, patch_size=8, id2label=labels)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    write_json({"image_processor_type": "ViTImageProcessor", "size": 32}, tmp_path / "preprocessor_config.json")
    description = describe(str(tmp_path))
    assert isinstance(description.config, ViTConfig)
    assert (description.config.heads, description.config.norm_eps) == (4, 1e-12)
    assert (description.labels, description.preprocessing.interpolation) == (LABELS, "bilinear")
    assert description.notes["inferred"] == []


def test_preprocessing_that_is_not_given_is_the_familys(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    import transformers

    options = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.Dinov2Config(**options, image_size=518)
    transformers.Dinov2ForImageClassification(config).save_pretrained(tmp_path / "dinov2")
    description = describe(str(tmp_path / "dinov2"))
    preprocessing = description.preprocessing
    assert (preprocessing.size, preprocessing.resize, preprocessing.mean[0]) == (224, 256, 0.485)
    (note,) = description.notes["inferred"]
    assert note.endswith(
        "preprocessor_config.json (Hugging Face's keys) or config.json (timm's pretrained_cfg) beside them"
    )
    distilled = tensors | {
        "dist_token": torch.zeros(1, 1, 192),
        "head_dist.weight": torch.zeros(3, 192),
        "head_dist.bias": torch.zeros(3),
        "pos_embed": torch.zeros(1, 27, 192),
    }
    assert describe(str(write_weights(distilled, tmp_path / "a.safetensors"))).preprocessing.mean[0] == 0.485


def test_dinov2_runs_at_the_size_of_its_preprocessor(tmp_path: Path) -> None:
    import transformers

    options = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    transformers.Dinov2Model(transformers.Dinov2Config(**options, image_size=70)).save_pretrained(tmp_path)
    processor = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 64}, "crop_size": 56}
    write_json(processor, tmp_path / "preprocessor_config.json")
    assert describe(str(tmp_path)).config.image_size == 56
    assert load_network(str(tmp_path))(torch.zeros(1, 3, 56, 56)).shape == (1, 32)


def test_our_own_files_are_complete(own: Path) -> None:
    model = load_model(str(own))
    assert (model.name, model.labels, model.preprocessing) == ("own", LABELS, Preprocessing(size=32, resize=40))
    assert load_model(f"mine={own}").name == "mine"


def test_our_own_files_at_another_size(own: Path) -> None:
    description = describe(str(own), image_size=64)
    assert (description.config.image_size, description.preprocessing.resize) == (64, 80)
    assert load_network(str(own), image_size=64)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_header_of_another_version_is_a_checkpoint_error(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "new.safetensors", metadata={HEADER_KEY: '{"family": "swin"}'})
    with pytest.raises(CheckpointError, match="not one that this version reads"):
        describe(str(tmp_path / "new.safetensors"))


def test_our_own_file_with_a_missing_tensor_is_rejected(own: Path) -> None:
    from safetensors.torch import load_file, save_file

    rest = load_file(own)
    del rest["norm.bias"]
    save_file(rest, own, metadata={HEADER_KEY: describe(str(own)).to_json()})
    with pytest.raises(CheckpointError, match=r"missing: norm\.bias"):
        load_network(str(own))


def test_a_tnt(tmp_path: Path) -> None:
    network = timm_network("tnt_s_legacy_patch16_224", depth=1, img_size=80)
    model = load_model(str(write_timm(network, tmp_path / "tnt")))
    assert isinstance(model.config, TNTConfig)
    assert len(model.labels) == 1000
    assert model.labels[281] == "tabby, tabby cat"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_explicit_dtype_is_honoured_and_logits_stay_float32(dtype: str, folder: Path) -> None:
    model = load_model(str(folder), dtype=dtype)
    assert model.dtype == getattr(torch, dtype)
    assert model.logits(np.zeros((1, 80, 80, 3), np.uint8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tensorrt"}, r"backend 'tensorrt' is not one of auto, torch"),
        ({"dtype": "int4"}, r"dtype 'int4' is not one of auto, float32"),
        ({"architecture": "vit_tiny"}, r"architecture='vit_tiny' is not a known architecture"),
        ({"image_size": 90}, r"patch_size \(16\) must be positive and divide image_size \(90\)"),
    ],
)
def test_invalid_arguments_are_rejected(arguments: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(str(folder), **arguments)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((80, 80, 3), np.uint8),
        np.zeros((1, 3, 80, 80), np.uint8),
        np.zeros((1, 81, 80, 3), np.uint8),
        np.zeros((1, 80, 80, 3), np.float32),
    ],
    ids=["no batch", "channels first", "another size", "floats"],
)
def test_pixels_of_another_shape_or_dtype_are_rejected(pixels: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 pixels \(B, 80, 80, 3\), got"):
        load_model(str(folder)).logits(pixels)


def test_read_only_pixels_are_accepted(folder: Path) -> None:
    pixels = np.zeros((1, 80, 80, 3), np.uint8)
    pixels.flags.writeable = False
    assert load_model(str(folder)).logits(pixels).shape == (1, 3)


def test_unknown_sources_are_errors(tmp_path: Path) -> None:
    for source, message in {
        "digits-vlt": r"'digits-vlt' is no file or folder, no hub id",
        str(tmp_path / "absent.pth"): r"there is no file or folder '.*absent\.pth'",
        "vit_base_patch16_224": r"is an architecture, not a checkpoint",
        str(tmp_path): r"holds no checkpoint: none of model\.safetensors",
    }.items():
        with pytest.raises(ModelNotFoundError, match=message):
            describe(source)


@pytest.mark.parametrize("source", shipped())
def test_the_shipped_models_load(source: str) -> None:
    model = load_model(source)
    assert model.labels == tuple("0123456789")
    assert model.logits(model.preprocess(Image.new("RGB", (50, 50)))[None]).shape == (1, 10)


def test_descriptions_need_no_torch(folder: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from tessella.models.catalog import list_models\n"
        "from tessella.models.checkpoints.sources import shipped\n"
        "from tessella.models.registry import describe\n"
        f"print(describe({str(folder)!r}).config.dim, *[describe(name).name for name in shipped()])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["192", *shipped()], done.stderr
