"""Launch helpers: accepted dtypes, alignment, descriptors, layout of row statistics."""

import pytest
import torch

from tessella.kernels.device import Gpu, assume_gpu
from tessella.kernels.triton import launch
from tessella.kernels.tuning.heuristics import LaunchConfig

CONFIG = LaunchConfig(16, 32, 8)


def test_only_dtypes_that_the_kernels_multiply() -> None:
    for dtype in launch.DOT_DTYPES:
        launch.check_dtype(torch.empty(1, dtype=dtype))
    with pytest.raises(ValueError, match=r"run in float32, bfloat16 or float16, not torch\.float64"):
        launch.check_dtype(torch.empty(1, dtype=torch.float64))


def test_rows_must_start_at_multiples_of_16_bytes() -> None:
    x = torch.empty(4, 8)
    assert launch.aligned(x)
    assert launch.aligned(x[:, :5])
    assert not launch.aligned(torch.empty(4, 6)), "rows of 24 bytes"
    assert not launch.aligned(x[:, 1:]), "the first row starts at byte 4"
    assert not launch.aligned(torch.empty(8, 4).T), "columns are not contiguous"
    with pytest.raises(ValueError, match=r"weight of \(4, 6\) does not suit .* width must be divisible by 4"):
        launch.make_descriptors(x, torch.empty(4, 6), x, CONFIG, "none")


def test_descriptors_have_the_tile_of_their_matrix() -> None:
    x, weight, out = torch.empty(20, 8), torch.empty(64, 8), torch.empty(20, 32)
    descriptors = launch.make_descriptors(x, weight, out, CONFIG, "swiglu")
    assert [descriptor and descriptor.block_shape for descriptor in descriptors] == [[16, 8], [32, 8], [16, 16]]
    *_, unaligned = launch.make_descriptors(x, weight, torch.empty(20, 30), CONFIG, "swiglu")
    assert unaligned is None
    with assume_gpu(Gpu("NVIDIA A100", 80, 108)):
        assert launch.make_descriptors(x, weight, out, CONFIG, "none") == (None, None, None)


def test_layout_of_row_statistics() -> None:
    assert launch.statistics_layout(None, 40) == ((0, 0, 0), {"PARTS": 1, "WIDTH": 64})
    assert launch.statistics_layout(torch.empty(3, 2, 5), 72) == ((10, 5, 1), {"PARTS": 3, "WIDTH": 32})
