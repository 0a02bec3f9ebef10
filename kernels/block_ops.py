"""Sub-blocks of an encoder block, attention and MLP, each composed of operators.

With folded LayerNorms and Triton kernels an encoder block is five launches: three in `fused_qkv_attention` (QKV with
the LayerNorm in its epilogue, attention, projection with residual and row statistics) and two in `layernorm_mlp`.
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
    """Attention sub-block: x + projection(attention(qkv(LayerNorm(x)))).

    Args:
        x: (B, N, D) tokens.
        qkv: (3D, D), with its LayerNorm separate or folded.
        projection: (D, D).
        heads: of D / heads channels each.
        row_statistics: of x, (parts, 2, B · N), for a folded LayerNorm; computed here by default.
        query_norm, key_norm: QK-norm, of D / heads channels; both or none.
        return_statistics: also return the row statistics of the result.

    Returns:
        (B, N, D) in x's dtype, and row statistics (parts, 2, B · N) or None.
    """
    rows = x.flatten(0, 1)
    packed, _ = linear(rows, qkv, row_statistics=row_statistics, options=options, name="qkv")
    values = attention(packed.unflatten(0, x.shape[:2]), heads, query_norm, key_norm, options=options)
    y, out_statistics = linear(
        values.flatten(0, 1),
        projection,
        residual=rows,
        return_statistics=return_statistics,
        options=options,
        name="attention.projection",
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
    """MLP sub-block: x + contract(activation(expand(LayerNorm(x)))).

    Args:
        x: (M, D) tokens.
        expand: (F, D), with its LayerNorm separate or folded; for swiglu F counts gate and value.
        contract: (D, F), or (D, F / 2) for swiglu.
        activation: as of `linear`.
        row_statistics: of x, (parts, 2, M), for a folded LayerNorm; computed here by default.
        return_statistics: also return the row statistics of the result.

    Returns:
        (M, D) in x's dtype, and row statistics (parts, 2, M) or None.
    """
    hidden, _ = linear(
        x, expand, row_statistics=row_statistics, activation=activation, options=options, name=f"{name}.hidden"
    )
    return linear(hidden, contract, residual=x, return_statistics=return_statistics, options=options, name=name)
