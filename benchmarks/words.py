"""TNT's inner path in four forms, which tells why TNT is slow elsewhere: bytes through memory, counted, and time.

`eager`: timm's blocks, an operator at a time. `compiled`: the same through torch.compile. `block`: our kernel, a launch
per block. `ahead`: our kernel, all blocks in one launch. On a CPU the last two are the same operators in PyTorch.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from ..kernels import tnt_ops
from ..kernels.options import Options, Workspace
from ..kernels.tnt_weights import InnerWeights
from ..models.config import TNTConfig
from ..models.fold_tnt import fold_tnt
from ..models.precision import DTYPES, limit_threads
from ..models.tnt import TNT
from .candidates import networks
from .harness import interleave
from .report import circumstances

FORMS = ("eager", "compiled", "block", "ahead")


@dataclass(frozen=True, slots=True)
class Row:
    """`megabytes`: of one image's words, through all inner blocks, that memory must carry. `ratio`: to eager's time."""

    architecture: str
    batch_size: int
    form: str
    megabytes: float
    milliseconds: float
    spread: float
    ratio: float


def megabytes(config: TNTConfig, form: str, itemsize: int) -> float:
    """What one image's inner path reads and writes, weights left out, in 10⁶ bytes.

    In units of all words: a product or LayerNorm reads and writes them once, the residual makes it three times.
    """
    patches = config.grid**2
    words = patches * config.words * config.inner_dim
    scores = patches * config.inner_heads * config.words**2 / words
    hidden = config.inner_mlp_dim / config.inner_dim
    match form:
        case "eager":  # norm, qk, v, scores, scale, softmax, mixing, layout, projection, residual, then the MLP
            attention = 2 + 3 + 2 + (2 + scores) + 4 * scores + (scores + 2) + 2 + 2 + 3
            block = attention + 2 + (1 + hidden) + 2 * hidden + (hidden + 1) + 3
        case "compiled":  # scale with softmax, residual with the norm after it
            attention = 3 + 2 + (2 + scores) + 2 * scores + (scores + 2) + 2 + 2 + 4
            block = attention + (1 + hidden) + 2 * hidden + (hidden + 1) + 4
        case "block":  # words in, words and the row for the projection out
            block = 3
        case "ahead":  # a row for each projection out; the words in, and their own row, once
            block = 1 + 2 / config.depth
        case _:
            raise ValueError(f"form {form!r} is not one of {', '.join(FORMS)}")
    return block * config.depth * words * itemsize / 1e6


def measure(
    architecture: str, batch_size: int, *, device: str = "cpu", dtype: str = "float32", seconds: float = 10
) -> dict[str, Any]:
    """Times the forms in turns, on the same words; about `seconds` in all.

    Returns:
        A JSON document: the circumstances and one object per form.

    Raises:
        ValueError: not a TNT, or an unknown dtype.
        AssertionError: a form does not compute what the others do.
    """
    limit_threads()
    theirs, ours = networks(architecture)
    if not isinstance(ours, TNT):
        raise ValueError(f"{architecture} has no words; name a TNT")
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    config = ours.config
    words = torch.randn(batch_size * config.grid**2, config.words * config.inner_dim).to(device, DTYPES[dtype])
    calls = _forms(theirs, ours, words)
    synchronise = torch.cuda.synchronize if words.is_cuda else lambda: None
    timings = interleave(calls, seconds=seconds, synchronise=synchronise)
    rows = [
        Row(
            architecture=architecture,
            batch_size=batch_size,
            form=form,
            megabytes=megabytes(config, form, words.element_size()),
            milliseconds=timing.median * 1e3,
            spread=timing.spread,
            ratio=timings["eager"].median / timing.median,
        )
        for form, timing in timings.items()
    ]
    return {"benchmark": "words", **circumstances(device), "rows": [asdict(row) for row in rows]}


def _forms(theirs: nn.Module, ours: TNT, words: Tensor) -> dict[str, Callable[[], Tensor]]:
    graph = fold_tnt(ours, (0.5,) * 3, (0.5,) * 3, dtype=words.dtype, device=words.device)
    blocks = _blocks(theirs, words)
    options = Options(workspace=Workspace() if words.is_cuda else None)
    made: dict[str, Callable[[], Tensor]] = {
        "eager": partial(_published, blocks, words.view(len(words), -1, ours.config.inner_dim)),
        "block": partial(_block_by_block, words, graph.inner, options),
        "ahead": partial(_ahead, words, graph.inner, options),
    }
    if words.is_cuda:
        made["compiled"] = torch.compile(made["eager"], mode="max-autotune")
    expected = made["eager"]().flatten(1).double()
    for form in ("block", "ahead"):
        found = made[form]().double()
        _assert_alike(form, found, expected, words.dtype)
    return {form: torch.inference_mode()(made[form]) for form in FORMS if form in made}


def _blocks(theirs: nn.Module, words: Tensor) -> list[nn.Module]:
    return [copy.deepcopy(block).to(words.device, words.dtype) for block in theirs.get_submodule("blocks").children()]


@torch.inference_mode()
def _published(blocks: list[nn.Module], x: Tensor) -> Tensor:
    """As timm's Block.forward has it; returns the words after the last block, standardised as ours leave."""
    for block in blocks:
        x = x + block.attn_in(block.norm_in(x))  # type: ignore[operator]
        x = x + block.mlp_in(block.norm_mlp_in(x))  # type: ignore[operator]
    return torch.nn.functional.layer_norm(x.flatten(1), (x[0].numel(),), eps=1e-5)


@torch.inference_mode()
def _block_by_block(words: Tensor, weights: InnerWeights, options: Options) -> Tensor:
    row = words
    for index in range(weights.depth):
        words, row = tnt_ops.tnt_inner_block(words, weights, index, options=options)
    return row


@torch.inference_mode()
def _ahead(words: Tensor, weights: InnerWeights, options: Options) -> Tensor:
    return tnt_ops.tnt_inner(words, weights, options=options)[-1]


def _assert_alike(form: str, found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    error = float((found - expected).square().mean().sqrt())
    limit = 1e-4 if dtype == torch.float32 else 0.05
    if not error < limit:
        raise AssertionError(f"{form}: words differ from timm's by {error:.1e} (rms, of deviation 1)")


def table(document: dict[str, Any]) -> Table:
    """The document for people."""
    title = f"TNT's words through all inner blocks: {document['device']}, torch {document['torch']}"
    made = Table("network", "batch", "form", "MB an image", "ms", "spread", "× eager", title=title)
    for row in document["rows"]:
        made.add_row(
            row["architecture"],
            str(row["batch_size"]),
            row["form"],
            f"{row['megabytes']:.1f}",
            f"{row['milliseconds']:.2f}",
            f"±{row['spread']:.0%}",
            f"{row['ratio']:.2f}",
        )
    return made
