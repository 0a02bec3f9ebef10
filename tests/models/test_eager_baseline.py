"""Eager baseline: the published network's logits, and matrix products with their operation counts."""

import numpy as np
import pytest
import torch

from tessella.models import eager_baseline
from tessella.models.registry import describe, load_model


def test_the_baseline_gives_the_logits_of_the_model() -> None:
    run = eager_baseline.load_eager_baseline("digits-vit", device="cpu", dtype="float32")
    model = load_model("digits-vit", dtype="float32")
    pixels = np.random.default_rng(0).integers(0, 256, (2, *(model.preprocessing.size,) * 2, 3), dtype=np.uint8)
    logits = run(pixels)
    assert logits.shape == (2, 10)
    assert logits.dtype == np.float32
    assert np.allclose(logits, model.logits(pixels).numpy(), atol=1e-4)


def test_a_dtype_without_products_is_compared_in_float32() -> None:
    size = describe("digits-vit").preprocessing.size
    pixels = np.zeros((1, size, size, 3), np.uint8)
    int8, float32 = (
        eager_baseline.load_eager_baseline("digits-vit", device="cpu", dtype=dtype)(pixels)
        for dtype in ("int8", "float32")
    )
    assert np.array_equal(int8, float32)


def test_products_come_with_their_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager_baseline, "_SIDES", {"cpu": (2, 3)})
    products = eager_baseline.matrix_multiplications(device="cpu", dtype="float32")
    assert [operations for _, operations in products] == [2 * 8, 2 * 27]
    for multiply, _ in products:
        multiply()


def test_the_matrix_rate_is_the_highest_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        eager_baseline, "matrix_multiplications", lambda **_: [(lambda: None, 100), (lambda: None, 300)]
    )
    seconds = iter([0.5, 1.0])
    monkeypatch.setattr(eager_baseline, "_seconds", lambda _: next(seconds))
    assert eager_baseline.measure_matrix_rate(device="cpu", dtype="float32") == 300


def test_memory_is_released_on_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    eager_baseline.release_cached_memory("cpu")
    assert calls == []
    eager_baseline.release_cached_memory("cuda:0")
    assert calls == ["empty"]
