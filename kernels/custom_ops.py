"""Custom operators (torch.library) of the Triton kernels: schemas and fakes, for torch.compile and torch.export.

All write into tensors that are passed in. Launchers, and with them triton, are imported on the first call. Arguments
are those of the launcher of the same name in `triton/`.
"""

import torch
from torch import Tensor

from .device import require_triton


@torch.library.custom_op("tessella::patch_embed", mutates_args=("out", "statistics"))
def patch_embed(
    pixels: Tensor,
    weight: Tensor,
    table: Tensor,
    patch_size: int,
    prefix: int,
    out: Tensor,
    statistics: Tensor | None,
    batch_invariant: bool,
) -> None:
    require_triton(pixels)
    from .triton.patch_embed import patch_embed as launch

    launch(pixels, weight, table, patch_size, prefix, out, statistics, batch_invariant)


@torch.library.custom_op("tessella::linear", mutates_args=("out", "out_statistics", "partials", "counters"))
def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sums: Tensor | None,
    statistics: Tensor | None,
    eps: float,
    activation: str,
    residual: Tensor | None,
    out: Tensor,
    out_statistics: Tensor | None,
    partials: Tensor | None,
    counters: Tensor | None,
    batch_invariant: bool,
) -> None:
    require_triton(x)
    from .triton.linear import linear as launch

    launch(
        x,
        weight,
        bias,
        sums,
        statistics,
        eps,
        activation,
        residual,
        out,
        out_statistics,
        partials,
        counters,
        batch_invariant,
    )


@torch.library.custom_op("tessella::grouped_linear", mutates_args=("out",))
def grouped_linear(x: Tensor, weight: Tensor, out: Tensor) -> None:
    require_triton(x)
    from .triton.grouped_linear import grouped_linear as launch

    launch(x, weight, out)


@torch.library.custom_op("tessella::attention", mutates_args=("out",))
def attention(
    qkv: Tensor,
    heads: int,
    query_weight: Tensor | None,
    query_bias: Tensor | None,
    key_weight: Tensor | None,
    key_bias: Tensor | None,
    query_eps: float,
    key_eps: float,
    out: Tensor,
) -> None:
    require_triton(qkv)
    from .triton.attention import attention as launch

    launch(qkv, heads, query_weight, query_bias, key_weight, key_bias, query_eps, key_eps, out)


@torch.library.custom_op("tessella::class_attention", mutates_args=("scores", "out"))
def class_attention(
    queries: Tensor,
    x: Tensor,
    statistics: Tensor | None,
    eps: float,
    scale: float,
    scores: Tensor,
    out: Tensor,
) -> None:
    require_triton(x)
    from .triton.class_attention import class_attention as launch

    launch(queries, x, statistics, eps, scale, scores, out)


@torch.library.custom_op("tessella::layer_norm", mutates_args=("out", "statistics"))
def layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, out: Tensor | None, statistics: Tensor | None
) -> None:
    require_triton(x)
    from .triton.layer_norm import layer_norm as launch

    launch(x, weight, bias, eps, out, statistics)


@torch.library.custom_op("tessella::mean_pool", mutates_args=("out",))
def mean_pool(x: Tensor, prefix: int, statistics: Tensor | None, eps: float, out: Tensor) -> None:
    require_triton(x)
    from .triton.mean_pool import mean_pool as launch

    launch(x, prefix, statistics, eps, out)


@torch.library.custom_op("tessella::resize_pass", mutates_args=("out",))
def resize_pass(source: Tensor, metadata: Tensor, programs: int, count: int, size: int, out: Tensor) -> None:
    require_triton(source)
    from .triton.resize_pass import resize_pass as launch

    launch(source, metadata, programs, count, size, out)


@torch.library.custom_op("tessella::tnt_embed", mutates_args=("out",))
def tnt_embed(
    pixels: Tensor,
    weight: Tensor,
    table: Tensor,
    patch_size: int,
    margin: int,
    window: int,
    out: Tensor,
    batch_invariant: bool,
) -> None:
    require_triton(pixels)
    from .triton.tnt_embed import tnt_embed as launch

    launch(pixels, weight, table, patch_size, margin, window, out, batch_invariant)


@torch.library.custom_op("tessella::tnt_inner", mutates_args=("rows", "state"))
def tnt_inner(
    x: Tensor,
    qkv: Tensor,
    query_bias: Tensor,
    projection: Tensor,
    projection_bias: Tensor,
    expand: Tensor,
    expand_bias: Tensor,
    contract: Tensor,
    contract_bias: Tensor,
    heads: int,
    dim: int,
    eps: float,
    per_token: bool,
    rows: Tensor,
    state: Tensor | None,
    batch_invariant: bool,
) -> None:
    require_triton(x)
    from .triton.tnt_inner import tnt_inner as launch

    launch(
        x,
        qkv,
        query_bias,
        projection,
        projection_bias,
        expand,
        expand_bias,
        contract,
        contract_bias,
        heads,
        dim,
        eps,
        per_token,
        rows,
        state,
        batch_invariant,
    )


@torch.library.custom_op("tessella::tnt_project", mutates_args=("out",))
def tnt_project(rows: Tensor, weight: Tensor, bias: Tensor, out: Tensor, batch_invariant: bool) -> None:
    require_triton(rows)
    from .triton.tnt_project import tnt_project as launch

    launch(rows, weight, bias, out, batch_invariant)


@torch.library.custom_op("tessella::tnt_add", mutates_args=("out", "statistics"))
def tnt_add(
    x: Tensor,
    rows: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    out: Tensor,
    statistics: Tensor | None,
) -> None:
    require_triton(rows)
    from .triton.tnt_add import tnt_add as launch

    launch(x, rows, weight, bias, eps, out, statistics)


for _operator in (
    patch_embed,
    linear,
    grouped_linear,
    attention,
    class_attention,
    layer_norm,
    mean_pool,
    resize_pass,
    tnt_embed,
    tnt_inner,
    tnt_project,
    tnt_add,
):
    _operator.register_fake(lambda *arguments: None)
