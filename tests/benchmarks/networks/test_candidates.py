"""Candidates of the network benchmark: timm's network and tessella's compute the same; engines are validated."""

import pytest
import torch

from tessella.benchmarks.networks import candidates
from tessella.benchmarks.networks.measure import compare


def test_the_engine_is_the_second_part_of_a_name() -> None:
    names = ["timm eager float32", "tessella folded bfloat16", "timm openvino-streams float32"]
    assert [candidates.engine_of(name) for name in names] == ["eager", "folded", "openvino"]


def test_an_unknown_engine_is_named_before_anything_is_built() -> None:
    with pytest.raises(ValueError, match="engine 'steam' is not one of eager, compiled, folded"):
        candidates.make_candidates("nonsense", [torch.float32], "cpu", ["steam"])
    with pytest.raises(ValueError, match="unknown architecture 'vit_nano'"):
        candidates.networks("vit_nano")


def test_engines_of_a_gpu_are_those_of_pytorch() -> None:
    assert candidates._available_engines("cuda:0") == {"eager", "compiled", "folded"}
    assert {"eager", "folded"} <= candidates._available_engines("cpu") <= set(candidates.ENGINES)


def test_eager_always_runs_and_folded_computes_the_same() -> None:
    made = candidates.make_candidates("deit_tiny_patch16_224", [torch.float32], "cpu", ["folded"])
    assert list(made) == ["timm eager float32", "tessella folded float32"]
    pixels = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    assert compare(made, pixels)["tessella folded float32"] < 1e-5
