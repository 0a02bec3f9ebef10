"""TNT inner-path benchmark (`tessella bench tnt-inner`): its memory traffic and its time in four forms.

`eager`: timm's blocks, one operator at a time. `compiled`: the same through torch.compile. `block`: our kernel, one
launch per block. `ahead`: our kernel, all blocks in one launch. On a CPU, the last two are the same operators in
PyTorch. Without timm, tessella's published blocks replace timm's. Also timed: the whole folded network, and DeiT-S.
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
from ...models.execution.folded_tensors import fold_network
from ...models.networks.build import build
from ...models.networks.tnt import TNT, TNTBlock
from ...models.networks.vit import ViT
from ...models.packages import installed
from ...models.variants import VARIANTS
from ..report import environment
from ..timing import Timing, interleave

if TYPE_CHECKING:  # rich is optional on a machine with a GPU
    from rich.table import Table

FORMS = ("eager", "compiled", "block", "ahead")
DEIT = "deit_small_patch16_224"
MEAN = STD = (0.5, 0.5, 0.5)

Call = Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Row:
    """Measurement of one form.

    Attributes:
        megabytes: memory traffic of one image's inner tokens through all inner blocks, in 10⁶ bytes.
        ratio: speed relative to `eager`.
    """

    architecture: str
    batch_size: int
    form: str
    megabytes: float
    milliseconds: float
    spread: float
    ratio: float


def megabytes(config: TNTConfig, form: str, itemsize: int) -> float:
    """Memory traffic of one image's inner path in 10⁶ bytes, without weights.

    Counted in units of all inner tokens: a product or LayerNorm reads and writes them once, a residual makes it three.

    Raises:
        ValueError: unknown form.
    """
    patches = config.grid**2
    elements = patches * config.words * config.inner_dim
    scores = patches * config.inner_heads * config.words**2 / elements
    hidden = config.inner_mlp_dim / config.inner_dim
    match form:
        case "eager":  # norm, qk, v, scores, scale, softmax, mixing, layout, projection, residual, then the MLP
            attention = 2 + 3 + 2 + (2 + scores) + 4 * scores + (scores + 2) + 2 + 2 + 3
            block = attention + 2 + (1 + hidden) + 2 * hidden + (hidden + 1) + 3
        case "compiled":  # scale with softmax, residual with the norm after it
            attention = 3 + 2 + (2 + scores) + 2 * scores + (scores + 2) + 2 + 2 + 4
            block = attention + (1 + hidden) + 2 * hidden + (hidden + 1) + 4
        case "block":  # tokens in; tokens and the rows for the projection out
            block = 3
        case "ahead":  # the rows for each projection out; the tokens in, and their own rows, once
            block = 1 + 2 / config.depth
        case _:
            raise ValueError(f"form {form!r} is not one of {', '.join(FORMS)}")
    return block * config.depth * elements * itemsize / 1e6


def measure(
    architecture: str, batch_size: int, *, device: str = "cpu", dtype: str = "float32", seconds: float = 10
) -> dict[str, Any]:
    """Time the forms on the same inner tokens, interleaved; about `seconds` in all.

    Returns:
        A JSON document: the environment, one object per form, and `networks`: milliseconds of a batch through the
        whole folded network and through DeiT-S.

    Raises:
        ValueError: not a TNT, or an unknown dtype.
        AssertionError: a form's inner tokens differ from timm's.
    """
    limit_threads()
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    published, network = networks(architecture)
    if not isinstance(network, TNT):
        raise ValueError(f"{architecture} has no inner tokens; name a TNT, such as tnt_s_patch16_224")
    config = network.config
    tokens = torch.randn(batch_size * config.grid**2, config.words * config.inner_dim).to(device, DTYPES[dtype])
    compared = {architecture: network, DEIT: build(VARIANTS[DEIT]).eval()}  # as the paper compares TNT-S with DeiT-S
    whole = {name: _whole_network(other, batch_size, tokens) for name, other in compared.items()}
    synchronise = torch.cuda.synchronize if tokens.is_cuda else lambda: None
    timings = interleave(_forms(published, network, tokens) | whole, seconds=seconds, synchronise=synchronise)
    rows = [
        Row(
            architecture=architecture,
            batch_size=batch_size,
            form=form,
            megabytes=megabytes(config, form, tokens.element_size()),
            milliseconds=timing.median * 1e3,
            spread=timing.spread,
            ratio=timings["eager"].median / timing.median,
        )
        for form, timing in timings.items()
        if form not in whole
    ]
    return {
        "benchmark": "tnt-inner",
        **environment(device),
        "published": "timm" if installed("timm") else "tessella",
        "rows": [asdict(row) for row in rows],
        "networks": {name: _milliseconds(timings[name]) for name in whole},
    }


def networks(architecture: str) -> tuple[nn.Module, ViT | TNT]:
    """Network of timm and tessella's with the same weights; tessella's twice where timm is not installed.

    Raises:
        ValueError: unknown architecture.
    """
    if installed("timm"):
        from .candidates import networks as with_timm

        return with_timm(architecture)
    if architecture not in VARIANTS:
        raise ValueError(f"unknown architecture {architecture!r}; `tessella models` lists them")
    torch.manual_seed(0)
    network = build(VARIANTS[architecture]).eval()
    return network, network


def _whole_network(network: ViT | TNT, batch_size: int, tokens: Tensor) -> Call:
    run = make_executor(network, MEAN, STD, dtype=tokens.dtype, device=tokens.device)
    assert run is not None
    size = network.config.image_size
    pixels = torch.randint(0, 256, (batch_size, size, size, 3), dtype=torch.uint8, device=tokens.device)
    return torch.inference_mode()(partial(run, pixels))


def _milliseconds(timing: Timing) -> dict[str, float]:
    return {"milliseconds": timing.median * 1e3, "spread": timing.spread}


def _forms(published: nn.Module, network: TNT, tokens: Tensor) -> dict[str, Call]:
    """Calls of each form over the same inner tokens (patches, tokens · channels), compared with each other."""
    graph = fold_network(network, MEAN, STD, dtype=tokens.dtype, device=tokens.device)
    blocks = _blocks(published, tokens)
    options = Options(workspace=Workspace() if tokens.is_cuda else None)
    forms: dict[str, Call] = {
        "eager": partial(_published, blocks, tokens.view(len(tokens), -1, network.config.inner_dim)),
        "block": partial(_block_by_block, tokens, graph.inner_blocks, options),
        "ahead": partial(_ahead, tokens, graph.inner_blocks, options),
    }
    if tokens.is_cuda:
        forms["compiled"] = torch.compile(forms["eager"], mode="max-autotune")
    expected = forms["eager"]().flatten(1).double()
    for form in ("block", "ahead"):
        _check(form, forms[form]().double(), expected, tokens.dtype)
    return {form: torch.inference_mode()(forms[form]) for form in FORMS if form in forms}


def _blocks(network: nn.Module, tokens: Tensor) -> list[nn.Module]:
    blocks = network.get_submodule("blocks").children()
    return [copy.deepcopy(block).to(tokens.device, tokens.dtype) for block in blocks]


@torch.inference_mode()
def _published(blocks: list[nn.Module], x: Tensor) -> Tensor:
    """Inner tokens after the last block, as in timm's `Block.forward`, standardised like those of our kernels."""
    for block in blocks:
        if isinstance(block, TNTBlock):
            x = block.inner(x)
            continue
        x = x + block.attn_in(block.norm_in(x))  # type: ignore[operator]
        x = x + block.mlp_in(block.norm_mlp_in(x))  # type: ignore[operator]
    return torch.nn.functional.layer_norm(x.flatten(1), (x[0].numel(),), eps=1e-5)


@torch.inference_mode()
def _block_by_block(tokens: Tensor, weights: InnerWeights, options: Options) -> Tensor:
    rows = tokens
    for index in range(weights.depth):
        tokens, rows = tnt_ops.tnt_inner_block(tokens, weights, index, options=options)
    return rows


@torch.inference_mode()
def _ahead(tokens: Tensor, weights: InnerWeights, options: Options) -> Tensor:
    return tnt_ops.tnt_inner(tokens, weights, options=options)[-1]


def _check(form: str, result: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    error = float((result - expected).square().mean().sqrt())
    limit = 1e-4 if dtype == torch.float32 else 0.05
    if not error < limit:
        raise AssertionError(f"{form}: inner tokens differ from timm's by {error:.1e} (rms, at unit variance)")


def table(document: dict[str, Any]) -> "Table":
    """Table of the document for the terminal."""
    from rich.table import Table

    title = f"TNT's inner tokens through all inner blocks: {document['device']}, torch {document['torch']}"
    result = Table("network", "batch", "form", "MB per image", "ms", "spread", "× eager", title=title)
    for row in document["rows"]:
        result.add_row(
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
    tnt, deit = (figure["milliseconds"] for figure in whole.values())
    result.caption = f"whole networks, folded: {figures}; TNT takes {tnt / deit:.2f} times as long as DeiT-S"
    return result
