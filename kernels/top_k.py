"""`top_k`: softmax and the likeliest classes of each row, so that a few numbers leave the GPU and not a thousand."""

import triton
import triton.language as tl
from torch import Tensor

from .launch import launch, power_of_two
from .tuning import Tile


@triton.jit
def top_k_kernel(logits_ptr, scores_ptr, indices_ptr, C, row_stride, K: tl.constexpr, BLOCK_C: tl.constexpr):
    """One program per row, in one piece: logits (B, C) -> float32 scores and int64 indices (B, K), best first."""
    row = tl.program_id(0).to(tl.int64)
    classes = tl.arange(0, BLOCK_C)
    logits = tl.load(logits_ptr + row * row_stride + classes, mask=classes < C, other=float("-inf")).to(tl.float32)
    highest = tl.max(logits, axis=0)
    total = tl.sum(tl.exp2((logits - highest) * 1.4426950408889634), axis=0)
    for rank in range(K):
        best = tl.max(logits, axis=0)
        index = tl.min(tl.where((logits == best) & (classes < C), classes, BLOCK_C), axis=0)
        tl.store(scores_ptr + row * K + rank, tl.exp2((best - highest) * 1.4426950408889634) / total)
        tl.store(indices_ptr + row * K + rank, index.to(tl.int64))
        logits = tl.where(classes == index, float("-inf"), logits)


def top_k(logits: Tensor, scores: Tensor, indices: Tensor) -> None:
    """Launches over tensors as in `ops.top_k`."""
    rows, classes = logits.shape
    block = power_of_two(classes)
    tile = Tile(1, block, warps=4 if block <= 4096 else 16, stages=1)
    launch(
        top_k_kernel,
        (rows,),
        tile,
        logits,
        scores,
        indices,
        classes,
        logits.stride(0),
        K=scores.shape[1],
        BLOCK_C=block,
    )
