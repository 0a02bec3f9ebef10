"""What a user says of a checkpoint reaches what loads it, through the engine too."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tessella.models.registry import describe
from tessella.server.engine import AsyncEngine
from tessella.server.load import load_runner
from tessella.server.settings import Settings

from ..models.exports import write_foreign


def test_another_image_size_is_served() -> None:
    native = describe("digits-vit").preprocessing.size
    runner = load_runner("digits-vit", device="cpu", image_size=2 * native)
    assert runner.info.preprocessing.size == 2 * native
    pixels = np.zeros((1, 2 * native, 2 * native, 3), np.uint8)
    assert runner.run(pixels).shape == (1, 10)


def test_the_engine_passes_it_on() -> None:
    with pytest.raises(ValueError, match="25"):
        asyncio.run(AsyncEngine.load("digits-vit", device="cpu", image_size=25))
    settings = Settings(architecture="vit_tiny_patch16_224", image_size=96)
    assert (settings.architecture, settings.image_size) == ("vit_tiny_patch16_224", 96)


def test_an_onnx_file_says_itself_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are for checkpoints"):
        load_runner(str(write_foreign(tmp_path / "m.onnx")), image_size=8)
