"""TNT for other runtimes is exact: in float64 the graph is the published network, in each of its forms."""

import dataclasses
from typing import Any

import pytest
import torch

from tessella.kernels.reference import normalise
from tessella.models.networks import build
from tessella.models.tnt_graph import TNTGraph

from .exports import TNT, pixels
from .references import distance, randomise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sub_patch_embedding": "linear"},
        {"sub_patch_embedding": "image_convolution", "normalise_projection": False},
        {"qkv_bias": True, "inner_heads": 2},
        {"inner_position": False, "outer_position": False},
        {"num_classes": 0},
        {"depth": 1},
    ],
    ids=str,
)
def test_the_graph_is_the_network(changes: dict[str, Any]) -> None:
    network = randomise(build(dataclasses.replace(TNT, **changes))).double()
    images = pixels(32, 3)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (MEAN, STD))
    with torch.no_grad():
        published = network(normalise(images, mean, std, torch.float64))
        assert distance(TNTGraph(network, MEAN, STD, torch.float64)(images), published) < 1e-10  # type: ignore[arg-type]
