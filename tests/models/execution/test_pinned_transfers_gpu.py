"""Batches that are copied, and resized, while others are computed have the results that they have alone."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.models.execution.classifier import Classifier
from tessella.models.execution.compile_events import told, watch_triton
from tessella.models.execution.pinned_transfers import Passage, Staging
from tessella.models.preprocessing import gpu_resize
from tessella.models.preprocessing.images import Frame, Frames
from tessella.models.registry import load_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]


def test_what_is_under_way_together_does_not_mix() -> None:
    model = load_model("digits-vit", device="cuda")
    staging = Staging(torch.device("cuda"))
    generator, size = np.random.default_rng(0), model.preprocessing.size
    batches = [generator.integers(0, 256, (count, size, size, 3), np.uint8) for count in (1, 8, 3, 16, 16, 2, 5, 16)]
    expected = [model.logits(batch).numpy(force=True) for batch in batches]
    assert_close(in_turns(staging, model, batches), expected)


@pytest.mark.parametrize("part", [gpu_resize.PART_BYTES, 100_000])
def test_frames_of_all_sizes_are_resized_on_their_way(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some batches are ready, some are mixed; with small parts most arrive in several. Nothing compiles meanwhile."""
    monkeypatch.setattr(gpu_resize, "PART_BYTES", part)
    watch_triton()
    model = load_model("digits-vit", device="cuda", backend="triton")
    staging = Staging(torch.device("cuda"), model.resize)
    generator, batches, expected = np.random.default_rng(1), [], []
    for count in (1, 8, 3, 16, 16, 2, 5, 16):
        images = [generator.integers(0, 256, (*generator.integers(1, 400, 2), 3), np.uint8) for _ in range(count)]
        ready = [Frame(model.preprocess(Image.fromarray(image))) for image in images]
        unready = [Frame(image, ready=False) for image in images]
        batches.append(ready if count == 5 else [*ready[:2], *unready[2:]] if count > 2 else unready)
        expected.append(model.logits(np.stack([frame.pixels for frame in ready])).numpy(force=True))
    compiled: list[str] = []
    with told(compiled.append):
        assert_close(in_turns(staging, model, batches), expected)
    assert compiled == []


def test_pixels_resized_on_the_gpu_are_the_recipes() -> None:
    model = load_model("digits-tnt", device="cuda", backend="triton")
    generator = np.random.default_rng(2)
    for count in (1, 7, 32):
        images = [generator.integers(0, 256, (*generator.integers(1, 900, 2), 3), np.uint8) for _ in range(count)]
        found = model.gather([Frame(image, ready=False) for image in images]).cpu().numpy()
        assert np.array_equal(found, np.stack([model.preprocess(Image.fromarray(image)) for image in images]))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")
def test_a_model_computes_on_its_own_gpu_whatever_the_threads_current_one_is() -> None:
    first, second = (load_model("digits-vit", device=f"cuda:{index}", backend="triton") for index in range(2))
    pixels = np.random.default_rng(3).integers(0, 256, (5, *[first.preprocessing.size] * 2, 3), np.uint8)
    assert torch.cuda.current_device() == 0
    found = second.logits(pixels)
    assert found.device.index == 1
    assert_close([found.numpy(force=True)], [first.logits(pixels).numpy(force=True)])


def in_turns(staging: Staging, model: Classifier, batches: Sequence[Frames]) -> list[NDArray[np.float32]]:
    """Logits, with as many batches under way as there may be."""
    found, under_way = [], deque[Passage]()
    for batch in batches:
        under_way.append(staging.start(model.logits, batch))
        if len(under_way) == staging.depth:
            found.append(staging.finish(under_way.popleft()))
    return found + [staging.finish(passage) for passage in under_way]


def assert_close(found: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
