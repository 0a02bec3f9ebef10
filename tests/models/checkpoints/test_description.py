"""Checkpoint descriptions: stored in the header of a safetensors file and read back unchanged."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tessella.models.checkpoints.description import HEADER_KEY, Description, read_description
from tessella.models.config import Config, TNTConfig, ViTConfig
from tessella.models.preprocessing.preprocess import Preprocessing

CONFIGS: list[Config] = [ViTConfig(depth=2, position="sincos", num_classes=2), TNTConfig(depth=3, num_classes=2)]


def describe(config: Config) -> Description:
    return Description(
        name="m",
        config=config,
        preprocessing=Preprocessing(size=224, resize=248, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
        labels=("cat", "dog"),
        notes={"accuracy": 0.5},
    )


def write(file: Path, header: dict[str, str] | None) -> Path:
    save_file({"a": np.zeros(1, np.float32)}, file, metadata=header)
    return file


@pytest.mark.parametrize("config", CONFIGS, ids=["vit", "tnt"])
def test_a_description_survives_the_header(config: Config, tmp_path: Path) -> None:
    description = describe(config)
    assert read_description(write(tmp_path / "m.safetensors", {HEADER_KEY: description.to_json()})) == description


@pytest.mark.parametrize("labels", [(), ("cat",), ("cat", "dog", "emu")])
def test_one_label_per_class_is_required(labels: tuple[str, ...], tmp_path: Path) -> None:
    text = replace(describe(CONFIGS[0]), labels=labels).to_json()
    with pytest.raises(ValueError, match=rf"m\.safetensors.* has {len(labels)} labels for 2 classes"):
        read_description(write(tmp_path / "m.safetensors", {HEADER_KEY: text}))


@pytest.mark.parametrize("header", [None, {"format": "pt"}])
def test_files_of_others_have_none(header: dict[str, str] | None, tmp_path: Path) -> None:
    assert read_description(write(tmp_path / "m.safetensors", header)) is None


@pytest.mark.parametrize("change", [{"family": "swin"}, {"labels": None}, {"config": {"width": 3}}, {"later": 1}])
def test_a_header_of_another_version_is_an_error(change: dict[str, object], tmp_path: Path) -> None:
    document = json.loads(describe(CONFIGS[0]).to_json()) | change
    file = write(tmp_path / "m.safetensors", {HEADER_KEY: json.dumps(document)})
    with pytest.raises(ValueError, match=r"m\.safetensors.*'tessella' header is not one that this version reads"):
        read_description(file)
