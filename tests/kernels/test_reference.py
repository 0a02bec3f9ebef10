"""Reference operators: pixels, row statistics and folded LayerNorms against PyTorch's own functions."""

import pytest
import torch
import torch.nn.functional as F

from tessella.kernels import reference

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])


def test_normalised_pixels() -> None:
    pixels = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    result = reference.normalise(pixels, MEAN, STD, torch.float64)
    assert result.shape == (2, 3, 4, 5)
    assert result.is_contiguous()
    expected = (pixels[1, 2, 3, 2].double() / 255 - MEAN[2].double()) / STD[2].double()
    torch.testing.assert_close(result[1, 2, 2, 3], expected)


def test_patch_embed_is_a_convolution_plus_the_table() -> None:
    pixels, weight, table = torch.randn(2, 8, 12, 3), torch.randn(5, 4 * 4 * 3), torch.randn(2 + 6, 5)
    tokens = reference.patch_embed(pixels, weight, table, 4, 2)
    kernel = weight.view(5, 4, 4, 3).permute(0, 3, 1, 2)
    patches = F.conv2d(pixels.permute(0, 3, 1, 2), kernel, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens[:, 2:], patches + table[2:])
    torch.testing.assert_close(tokens[:, :2], table[:2].expand(2, -1, -1))


@pytest.mark.parametrize(("columns", "parts", "width"), [(768, 6, 128), (768, 1, 768), (24, 2, 16), (100, 4, 32)])
def test_part_width(columns: int, parts: int, width: int) -> None:
    assert reference.part_width(columns, parts) == width


def test_statistics_in_parts_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="768 channels do not split into 5 parts"):
        reference.part_width(768, 5)


def test_row_statistics_give_mean_and_rstd() -> None:
    x = torch.randn(7, 24, dtype=torch.float64) * 3 + 50
    halves = torch.cat([reference.row_statistics(x[:, :16]), reference.row_statistics(x[:, 16:])])
    for statistics in (reference.row_statistics(x), halves):
        mean, rstd = reference.mean_and_rstd(statistics, 24, 1e-6)
        torch.testing.assert_close(mean, x.mean(dim=1))
        torch.testing.assert_close(rstd, (x.var(dim=1, correction=0) + 1e-6).rsqrt())


def test_linear_with_a_folded_layer_norm() -> None:
    x, weight, bias = (torch.randn(*shape, dtype=torch.float64) for shape in ((7, 24), (5, 24), (5,)))
    statistics, sums = reference.row_statistics(x), weight.sum(dim=1)
    result = reference.linear(x, weight, bias, sums=sums, statistics=statistics, eps=1e-6)
    torch.testing.assert_close(result, F.linear(F.layer_norm(x, (24,), eps=1e-6), weight, bias))


def test_mean_pool_normalises_each_token() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64) * 3 + 1
    result = reference.mean_pool(x, 2, reference.row_statistics(x.flatten(0, 1)), 1e-6)
    torch.testing.assert_close(result, F.layer_norm(x, (8,), eps=1e-6)[:, 2:].mean(dim=1))
