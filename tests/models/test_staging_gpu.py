"""Batches that are copied while others are computed have the results that they have alone."""

from collections import deque

import numpy as np
import pytest
import torch

from tessella.models.registry import load_model
from tessella.models.staging import Passage, Staging

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]


def test_what_is_under_way_together_does_not_mix() -> None:
    model = load_model("digits-vit", device="cuda")
    staging = Staging(torch.device("cuda"))
    generator, size = np.random.default_rng(0), model.preprocessing.size
    batches = [generator.integers(0, 256, (count, size, size, 3), np.uint8) for count in (1, 8, 3, 16, 16, 2, 5, 16)]
    expected = [model.logits(batch).numpy(force=True) for batch in batches]
    found, under_way = [], deque[Passage]()
    for batch in batches:
        under_way.append(staging.start(model.logits, batch))
        if len(under_way) == staging.depth:
            found.append(staging.finish(under_way.popleft()))
    found += [staging.finish(passage) for passage in under_way]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
