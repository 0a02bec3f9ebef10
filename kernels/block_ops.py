"""The two halves of an encoder block as the network calls them, each a handful of operators.

On the all-Triton path with folded LayerNorms an encoder block is five launches: three in `fused_qkv_attention` (QKV
with the
LayerNorm in its epilogue, attention, projection with residual and row statistics) and two in `layernorm_mlp`.
"""

from torch import Tensor

from .ops import Tokens, attention, linear
from .options import DEFAULT, Options
from .weights import LinearWeights, NormWeights


def fused_qkv_attention(
    x: Tensor,
    qkv: LinearWeights,
    projection: LinearWeights,
    heads: int,
    *,
    row_statistics: Tensor | None = None,
    query_norm: NormWeights | None = None,
    key_norm: NormWeights | None = None,
    return_statistics: bool = False,
    options: Options = DEFAULT,
) -> Tokens:
    """x + projection(attention(qkv(LayerNorm(x)))).

    Args:
        x: (B, N, D) tokens.
        qkv: (3D, D), with its LayerNorm beside it or folded in.
        projection: (D, D).
        row_statistics: of x, (parts, 2, B · N), where the LayerNorm is folded; taken here where they are missing.
        return_statistics: also the row statistics of the result.

    Returns:
        (B, N, D), and row statistics (parts, 2, B · N) or None.
    """
    rows = x.flatten(0, 1)
    packed, _ = linear(rows, qkv, row_statistics=row_statistics, options=options, name="qkv")
    mixed = attention(packed.unflatten(0, x.shape[:2]), heads, query_norm, key_norm, options=options, name="mixed")
    y, out_statistics = linear(
        mixed.flatten(0, 1),
        projection,
        residual=rows,
        return_statistics=return_statistics,
        options=options,
        name="attended",
    )
    return y.unflatten(0, x.shape[:2]), out_statistics


def layernorm_mlp(
    x: Tensor,
    expand: LinearWeights,
    contract: LinearWeights,
    *,
    activation: str = "gelu",
    row_statistics: Tensor | None = None,
    return_statistics: bool = False,
    options: Options = DEFAULT,
    name: str = "tokens",
) -> Tokens:
    """x + contract(activation(expand(LayerNorm(x)))).

    Args:
        x: (M, D) tokens.
        expand: (F, D), with its LayerNorm beside it or folded in; for swiglu F counts gate and value.
        contract: (D, F) or (D, F / 2) for swiglu.
        row_statistics: of x, (parts, 2, M), where the LayerNorm is folded; taken here where they are missing.
        return_statistics: also the row statistics of the result.

    Returns:
        (M, D), and row statistics (parts, 2, M) or None.
    """
    hidden, _ = linear(
        x, expand, row_statistics=row_statistics, activation=activation, options=options, name=f"{name}.hidden"
    )
    return linear(hidden, contract, residual=x, return_statistics=return_statistics, options=options, name=name)
