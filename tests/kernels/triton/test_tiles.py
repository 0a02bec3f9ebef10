"""Device functions in Triton's interpreter, each in a kernel of a few lines."""

import pytest
import torch
import triton
import triton.language as tl

from tessella.kernels import reference
from tessella.kernels.triton.tiles import activate, mean_and_rstd, store_row_statistics, tile_position


@triton.jit
def position_kernel(out_ptr, row_tiles, column_tiles, GROUP: tl.constexpr):
    tile = tl.program_id(0)
    row, column = tile_position(tile, row_tiles, column_tiles, GROUP)
    tl.store(out_ptr + 2 * tile, row)
    tl.store(out_ptr + 2 * tile + 1, column)


@triton.jit
def activation_kernel(x_ptr, out_ptr, ACTIVATION: tl.constexpr, COLUMNS: tl.constexpr):
    rows = tl.arange(0, 4)[:, None]
    value = activate(tl.load(x_ptr + rows * 16 + tl.arange(0, 16)[None, :]), ACTIVATION)
    tl.store(out_ptr + rows * COLUMNS + tl.arange(0, COLUMNS)[None, :], value)


@triton.jit
def statistics_kernel(x_ptr, statistics_ptr, mean_ptr, rstd_ptr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr):
    """Row statistics of 5 rows in two parts of WIDTH and COLUMNS - WIDTH channels, then merged."""
    rows = tl.arange(0, 8)
    for part in tl.static_range(2):
        columns = part * WIDTH + tl.arange(0, WIDTH)
        mask = (rows < 5)[:, None] & (columns < COLUMNS)[None, :]
        values = tl.load(x_ptr + rows[:, None] * COLUMNS + columns[None, :], mask=mask, other=0.0)
        index = tl.program_id(0) * 0 + part
        store_row_statistics(values, rows, columns, 5, COLUMNS, index, statistics_ptr, WIDTH)
    mean, rstd = mean_and_rstd(statistics_ptr, rows, rows < 5, COLUMNS, 10, 5, 1, 1e-6, 2, WIDTH)
    tl.store(mean_ptr + rows, mean, mask=rows < 5)
    tl.store(rstd_ptr + rows, rstd, mask=rows < 5)


@pytest.mark.parametrize(("row_tiles", "column_tiles", "group"), [(1, 1, 8), (5, 3, 2), (4, 7, 8), (9, 2, 4)])
def test_tile_order_visits_every_tile_once_in_groups_of_rows(row_tiles: int, column_tiles: int, group: int) -> None:
    out = torch.full((row_tiles * column_tiles, 2), -1, dtype=torch.int32)
    position_kernel[(len(out),)](out, row_tiles, column_tiles, GROUP=group)
    positions = [tuple(position) for position in out.tolist()]
    assert sorted(positions) == [(row, column) for row in range(row_tiles) for column in range(column_tiles)]
    first = min(group, row_tiles)
    assert positions[:first] == [(row, 0) for row in range(first)]


@pytest.mark.parametrize("activation", ["none", "gelu", "quick_gelu", "swiglu"])
def test_activations(activation: str) -> None:
    x = torch.randn(4, 16)
    expected = reference.activate(x, activation)
    out = torch.empty_like(expected)
    activation_kernel[(1,)](x, out, ACTIVATION=activation, COLUMNS=expected.shape[1])
    torch.testing.assert_close(out, expected)


def test_row_statistics_in_parts() -> None:
    x = torch.randn(5, 24) + 100
    statistics, mean, rstd = torch.empty(2, 2, 5), torch.empty(5), torch.empty(5)
    statistics_kernel[(1,)](x, statistics, mean, rstd, COLUMNS=24, WIDTH=16)
    expected = torch.cat([reference.row_statistics(x[:, :16]), reference.row_statistics(x[:, 16:])])
    torch.testing.assert_close(statistics, expected)
    torch.testing.assert_close((mean, rstd), reference.mean_and_rstd(expected, 24, 1e-6))
