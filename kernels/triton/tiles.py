"""Device functions shared by kernels: row statistics, activations, tile order, tile loads, epilogue of `linear`."""

import triton
import triton.language as tl


@triton.jit
def mean_and_rstd(
    statistics_ptr,
    rows,
    mask,
    columns,
    part_stride,
    moment_stride,
    row_stride,
    eps,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Mean and 1 / sqrt(variance + eps) of each row, merged from parts (Chan, Golub, LeVeque 1983).

    Args:
        statistics_ptr: float32 (PARTS, 2, row count), with strides part_stride, moment_stride and row_stride.
        rows, mask: (BLOCK,).
        columns: channels of a row.
        WIDTH: channels of a part.
    """
    row_ptrs = statistics_ptr + rows.to(tl.int64) * row_stride
    mean = tl.load(row_ptrs, mask=mask, other=0.0)
    squares = tl.load(row_ptrs + moment_stride, mask=mask, other=0.0)
    count = tl.minimum(columns, WIDTH).to(tl.float32)
    for part in tl.static_range(1, PARTS):
        size = tl.minimum(columns - part * WIDTH, WIDTH).to(tl.float32)
        part_mean = tl.load(row_ptrs + part * part_stride, mask=mask, other=0.0)
        part_squares = tl.load(row_ptrs + part * part_stride + moment_stride, mask=mask, other=0.0)
        total = count + size
        delta = part_mean - mean
        mean += delta * (size / total)
        squares += part_squares + delta * delta * (count * size / total)
        count = total
    return mean, tl.rsqrt(squares / count + eps)


@triton.jit
def store_row_statistics(values, rows, columns, row_count, column_count, part, statistics_ptr, WIDTH: tl.constexpr):
    """Store one part of row statistics: mean and sum of squared deviations of a tile's rows.

    Args:
        values: float32 (BLOCK, WIDTH).
        rows, columns: (BLOCK,) and (WIDTH,), of the tile.
        part: index of the tile among the tiles of columns.
        statistics_ptr: float32 (parts, 2, row_count), contiguous.
    """
    inside = (columns < column_count)[None, :]
    size = tl.minimum(column_count - part * WIDTH, WIDTH).to(tl.float32)
    mean = tl.sum(tl.where(inside, values, 0.0), axis=1) / size
    deviations = tl.where(inside, values - mean[:, None], 0.0)
    ptrs = statistics_ptr + part.to(tl.int64) * 2 * row_count + rows
    tl.store(ptrs, mean, mask=rows < row_count)
    tl.store(ptrs + row_count, tl.sum(deviations * deviations, axis=1), mask=rows < row_count)


@triton.jit
def activate(x, ACTIVATION: tl.constexpr):
    """Activation of x (M, N): exact (erf) GELU, quick GELU, or SwiGLU of pairs of columns -> (M, N / 2)."""
    if ACTIVATION == "gelu":
        x = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    if ACTIVATION == "quick_gelu":
        x = x * tl.sigmoid(1.702 * x)
    if ACTIVATION == "swiglu":
        gate, value = tl.split(tl.reshape(x, (x.shape[0], x.shape[1] // 2, 2)))
        x = gate * tl.sigmoid(gate) * value
    return x


@triton.jit
def tile_position(tile, row_tiles, column_tiles, GROUP: tl.constexpr):
    """Row and column of a tile in grouped order: GROUP row tiles before the next column, so that weights stay in L2."""
    per_group = GROUP * column_tiles
    first = tile // per_group * GROUP
    size = tl.minimum(row_tiles - first, GROUP)
    within = tile % per_group
    return first + within % size, within // size


@triton.jit
def load_tile(desc, ptr, first_row, first_column, rows, columns, stride, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Tile (ROWS, COLUMNS) of a (rows, columns) matrix, zero outside: by its descriptor, or by pointers without one."""
    if desc is not None:
        tile = desc.load([first_row, first_column])
    else:
        row = first_row + tl.arange(0, ROWS)
        column = first_column + tl.arange(0, COLUMNS)
        ptrs = ptr + row.to(tl.int64)[:, None] * stride + column[None, :]
        tile = tl.load(ptrs, mask=(row < rows)[:, None] & (column < columns)[None, :], other=0.0)
    return tile


@triton.jit
def epilogue(
    acc,
    row_tile,
    column_tile,
    out_desc,
    out_ptr,
    bias_ptr,
    sums_ptr,
    statistics_ptr,
    residual_ptr,
    out_statistics_ptr,
    M,
    O,
    K,
    out_stride,
    residual_stride,
    part_stride,
    moment_stride,
    statistics_stride,
    eps,
    PARTS: tl.constexpr,
    WIDTH: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Epilogue of both kernels of `linear`: LayerNorm, bias, activation, residual, rounding, row statistics, store.

    Args:
        acc: float32 (BLOCK_M, BLOCK_N), the accumulator. The others are those of linear_kernel.
    """
    rows = row_tile * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = column_tile * BLOCK_N + tl.arange(0, BLOCK_N)
    if sums_ptr is not None:
        mean, rstd = mean_and_rstd(
            statistics_ptr, rows, rows < M, K, part_stride, moment_stride, statistics_stride, eps, PARTS, WIDTH
        )
        sums = tl.load(sums_ptr + columns, mask=columns < O, other=0.0)
        acc = (acc - mean[:, None] * sums[None, :]) * rstd[:, None]
    if bias_ptr is not None:
        acc += tl.load(bias_ptr + columns, mask=columns < O, other=0.0)[None, :]
    value = activate(acc, ACTIVATION)
    OUT_N: tl.constexpr = BLOCK_N // 2 if ACTIVATION == "swiglu" else BLOCK_N
    out_columns = O // 2 if ACTIVATION == "swiglu" else O
    columns = column_tile * OUT_N + tl.arange(0, OUT_N)
    mask = (rows < M)[:, None] & (columns < out_columns)[None, :]
    if residual_ptr is not None:
        residual_ptrs = residual_ptr + rows.to(tl.int64)[:, None] * residual_stride + columns[None, :]
        value += tl.load(residual_ptrs, mask=mask, other=0.0).to(tl.float32)
    rounded = value.to(out_ptr.dtype.element_ty)
    if out_statistics_ptr is not None:
        store_row_statistics(
            rounded.to(tl.float32), rows, columns, M, out_columns, column_tile, out_statistics_ptr, OUT_N
        )
    if out_desc is not None:
        out_desc.store([row_tile * BLOCK_M, column_tile * OUT_N], rounded)
    else:
        tl.store(out_ptr + rows.to(tl.int64)[:, None] * out_stride + columns[None, :], rounded, mask=mask)
