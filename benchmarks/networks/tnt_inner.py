"""TNT's inner path in four forms, which tells why TNT is slow elsewhere: bytes through memory, counted, and time.

`eager`: timm's blocks, an operator at a time. `compiled`: the same through torch.compile. `block`: our kernel, a launch
per block. `ahead`: our kernel, all blocks in one launch. On a CPU the last two are the same operators in PyTorch.
Where timm is not installed its blocks are ours as published. Beside them: the whole folded network, and DeiT-S's.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...kernels import tnt_ops
from ...kernels.options import Options, Workspace
from ...kernels.weights import InnerWeights
from ...models.config import TNTConfig
from ...models.execution.dtype import DTYPES, limit_threads
from ...models.execution.executor import make_executor
from ...models.folding.fold_tnt import fold_tnt
from ...models.networks.build import build
from ...models.networks.tnt import TNT, TNTBlock
from ...models.networks.vit import ViT
from ...models.packages import installed
from ...models.variants import VARIANTS
from ..report import circumstances
from ..timing import Timing, interleave

if TYPE_CHECKING:  # a machine with a GPU need not have rich
    from rich.table import Table

FORMS = ("eager", "compiled", "block", "ahead")
DEIT = "deit_small_patch16_224"
HALF = (0.5, 0.5, 0.5)

Call = Callable[[], Tensor]


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
        A JSON document: the circumstances, one object per form, and `networks`: milliseconds of a batch through the
        whole folded network and through DeiT-S's.

    Raises:
        ValueError: not a TNT, or an unknown dtype.
        AssertionError: a form does not compute what the others do.
    """
    limit_threads()
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    theirs, ours = networks(architecture)
    if not isinstance(ours, TNT):
        raise ValueError(f"{architecture} has no words; name a TNT")
    config = ours.config
    words = torch.randn(batch_size * config.grid**2, config.words * config.inner_dim).to(device, DTYPES[dtype])
    whole = {name: _whole(network, batch_size, words) for name, network in _beside(architecture, ours).items()}
    synchronise = torch.cuda.synchronize if words.is_cuda else lambda: None
    timings = interleave(_forms(theirs, ours, words) | whole, seconds=seconds, synchronise=synchronise)
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
        if form not in whole
    ]
    return {
        "benchmark": "words",
        **circumstances(device),
        "published": "timm" if installed("timm") else "tessella",
        "rows": [asdict(row) for row in rows],
        "networks": {name: _milliseconds(timings[name]) for name in whole},
    }


def networks(architecture: str) -> tuple[nn.Module, ViT | TNT]:
    """timm's network and ours with the same weights; twice ours where timm is not installed."""
    if installed("timm"):
        from .candidates import networks as both

        return both(architecture)
    if architecture not in VARIANTS:
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    torch.manual_seed(0)
    ours = build(VARIANTS[architecture]).eval()
    return ours, ours


def _beside(architecture: str, ours: TNT) -> dict[str, ViT | TNT]:
    """DeiT-S is what the paper's authors hold TNT-S against: 1.14 times less arithmetic."""
    return {architecture: ours, DEIT: build(VARIANTS[DEIT]).eval()}


def _whole(network: ViT | TNT, batch_size: int, words: Tensor) -> Call:
    run = make_executor(network, HALF, HALF, dtype=words.dtype, device=words.device)
    assert run is not None
    size = network.config.image_size
    pixels = torch.randint(0, 256, (batch_size, size, size, 3), dtype=torch.uint8, device=words.device)
    return torch.inference_mode()(partial(run, pixels))


def _milliseconds(timing: Timing) -> dict[str, float]:
    return {"milliseconds": timing.median * 1e3, "spread": timing.spread}


def _forms(theirs: nn.Module, ours: TNT, words: Tensor) -> dict[str, Call]:
    graph = fold_tnt(ours, HALF, HALF, dtype=words.dtype, device=words.device)
    blocks = _blocks(theirs, words)
    options = Options(workspace=Workspace() if words.is_cuda else None)
    made: dict[str, Call] = {
        "eager": partial(_published, blocks, words.view(len(words), -1, ours.config.inner_dim)),
        "block": partial(_block_by_block, words, graph.inner_blocks, options),
        "ahead": partial(_ahead, words, graph.inner_blocks, options),
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
        if isinstance(block, TNTBlock):
            x = block.inner(x)
            continue
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


def table(document: dict[str, Any]) -> "Table":
    """The document for people."""
    from rich.table import Table

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
    whole = document["networks"]
    figures = ", ".join(f"{name} {figure['milliseconds']:.2f} ms" for name, figure in whole.items())
    first, deit = (figure["milliseconds"] for figure in whole.values())
    made.caption = f"whole networks, folded: {figures}; the first takes {first / deit:.2f} times DeiT-S's time"
    return made
