"""Pinned transfers on a GPU: overlapping batches give the results that each gives alone."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tessella.models.execution.classifier import Classifier
from tessella.models.execution.compile_events import on_compile, watch_triton
from tessella.models.execution.pinned_transfers import PinnedTransfers, Transfer
from tessella.models.preprocessing import gpu_resize
from tessella.models.preprocessing.images import ImageBatch, InputImage
from tessella.models.registry import load_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]


def test_overlapping_batches_do_not_mix() -> None:
    model = load_model("digits-vit", device="cuda")
    transfers = PinnedTransfers(torch.device("cuda"))
    generator, size = np.random.default_rng(0), model.preprocessing.size
    batches = [generator.integers(0, 256, (count, size, size, 3), np.uint8) for count in (1, 8, 3, 16, 16, 2, 5, 16)]
    expected = [model.logits(batch).numpy(force=True) for batch in batches]
    assert_close(run_overlapped(transfers, model, batches), expected)


@pytest.mark.parametrize("part", [gpu_resize.MAX_PACKED_BYTES, 100_000])
def test_images_of_all_sizes_are_resized_during_the_transfer(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that are preprocessed, raw or mixed; with small parts most arrive in several. Nothing is compiled."""
    monkeypatch.setattr(gpu_resize, "MAX_PACKED_BYTES", part)
    watch_triton()
    model = load_model("digits-vit", device="cuda", backend="triton")
    transfers = PinnedTransfers(torch.device("cuda"), model.device_resize)
    generator, batches, expected = np.random.default_rng(1), [], []
    for count in (1, 8, 3, 16, 16, 2, 5, 16):
        images = [generator.integers(0, 256, (*generator.integers(1, 400, 2), 3), np.uint8) for _ in range(count)]
        prepared = [InputImage(model.preprocess(Image.fromarray(image))) for image in images]
        raw = [InputImage(image, preprocessed=False) for image in images]
        batches.append(prepared if count == 5 else [*prepared[:2], *raw[2:]] if count > 2 else raw)
        expected.append(model.logits(np.stack([image.pixels for image in prepared])).numpy(force=True))
    compiled: list[str] = []
    with on_compile(compiled.append):
        assert_close(run_overlapped(transfers, model, batches), expected)
    assert compiled == []


def test_gpu_resize_equals_preprocess() -> None:
    model = load_model("digits-tnt", device="cuda", backend="triton")
    generator = np.random.default_rng(2)
    for count in (1, 7, 32):
        images = [generator.integers(0, 256, (*generator.integers(1, 900, 2), 3), np.uint8) for _ in range(count)]
        found = model.preprocess_batch([InputImage(image, preprocessed=False) for image in images]).cpu().numpy()
        assert np.array_equal(found, np.stack([model.preprocess(Image.fromarray(image)) for image in images]))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")
def test_a_model_computes_on_its_own_gpu_whatever_the_current_device() -> None:
    first, second = (load_model("digits-vit", device=f"cuda:{index}", backend="triton") for index in range(2))
    pixels = np.random.default_rng(3).integers(0, 256, (5, *[first.preprocessing.size] * 2, 3), np.uint8)
    assert torch.cuda.current_device() == 0
    found = second.logits(pixels)
    assert found.device.index == 1
    assert_close([found.numpy(force=True)], [first.logits(pixels).numpy(force=True)])


def run_overlapped(
    transfers: PinnedTransfers, model: Classifier, batches: Sequence[ImageBatch]
) -> list[NDArray[np.float32]]:
    """Logits, with `depth` batches in flight."""
    results, in_flight = [], deque[Transfer]()
    for batch in batches:
        in_flight.append(transfers.start(model.logits, batch))
        if len(in_flight) == transfers.depth:
            results.append(transfers.finish(in_flight.popleft()))
    return results + [transfers.finish(transfer) for transfer in in_flight]


def assert_close(actual: list[NDArray[np.float32]], expected: list[NDArray[np.float32]]) -> None:
    for result, reference in zip(actual, expected, strict=True):
        np.testing.assert_allclose(result, reference, atol=1e-3)
