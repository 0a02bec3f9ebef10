"""What there is to tune: the shapes of the networks' operators, and the ways there are to run a composite."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ...kernels import tnt_ops
from ...kernels.device import Gpu
from ...kernels.ops import attention, linear
from ...kernels.options import Options, Workspace
from ...kernels.tuning import heuristics, tables, tnt_heuristics
from ...kernels.tuning.heuristics import LaunchConfig
from ...kernels.weights import LinearWeights
from ...models.config import Config, TNTConfig, ViTConfig
from ...models.execution.folded_tnt import ORDER_KEY
from ...models.folding.fold_tnt import fold_tnt, outer_config
from ...models.folding.graph import FoldedTNT
from ...models.networks.tnt import TNT
from ..roofline import config_of
from .block_halves import COMPOSITES


@dataclass(frozen=True, slots=True)
class Job:
    """One shape of one operator.

    For `attention` rows are tokens and columns the head's width, whatever the batch; for `tnt_inner` rows are patches,
    columns a word's channels and the depth a patch's words; for `tnt_project` rows are patches.
    """

    operator: str
    rows: int
    columns: int
    depth: int
    detail: str
    config: Config
    batch: int

    def key(self, dtype: torch.dtype) -> str:
        return tables.entry_key(self.operator, self.rows, self.columns, self.depth, dtype, self.detail)


@dataclass(frozen=True, slots=True)
class Question:
    """Which way a composite of a network runs quicker at a batch size."""

    composite: str
    config: Config
    batch: int

    def key(self, dtype: torch.dtype) -> str:
        return tables.entry_key(self.composite, self.batch * self.config.tokens, self.config.dim, 0, dtype)


def jobs(architectures: Sequence[str], batches: Sequence[int]) -> Iterator[Job]:
    """The shapes of the networks' blocks, each once."""
    seen = set()
    for architecture in architectures:
        config = config_of(architecture)
        for batch in batches:
            for job in _jobs(config, batch):
                if (shape := (job.operator, job.rows, job.columns, job.depth, job.detail)) not in seen:
                    seen.add(shape)
                    yield job


def questions(architectures: Sequence[str], batches: Sequence[int]) -> Iterator[Question]:
    """Each composite of each shape once, and which way the words of each TNT run."""
    seen = set()
    for architecture in architectures:
        config = config_of(architecture)
        composites = (*COMPOSITES, ORDER_KEY) if isinstance(config, TNTConfig) else COMPOSITES
        for batch, composite in product(batches, composites):
            if (shape := (composite, batch * config.tokens, config.dim)) not in seen:
                seen.add(shape)
                yield Question(composite, config, batch)


def vit_of(config: Config) -> ViTConfig:
    """A ViT's configuration, or that of a TNT's outer stack."""
    return outer_config(config) if isinstance(config, TNTConfig) else config


def _jobs(config: Config, batch: int) -> list[Job]:
    if not isinstance(config, TNTConfig):
        return _block_jobs(config, batch)
    patches, width = batch * config.grid**2, config.words * config.inner_dim
    return [
        Job("tnt_inner", patches, config.inner_dim, config.words, "none", config, batch),
        Job("tnt_project", patches, config.dim, width, "none", config, batch),
        *_block_jobs(outer_config(config), batch),
    ]


def _block_jobs(config: ViTConfig, batch: int) -> list[Job]:
    rows, dim, hidden = batch * config.tokens, config.dim, config.mlp_dim
    contracted = hidden // 2 if config.feedforward == "swiglu" else hidden
    return [
        Job("linear", rows, hidden, dim, config.feedforward, config, batch),
        Job("linear", rows, dim, contracted, "none", config, batch),
        Job("linear", rows, 3 * dim, dim, "none", config, batch),
        Job("linear", rows, dim, dim, "none", config, batch),
        Job("attention", config.tokens, dim // config.heads, 0, "none", config, max(batch, 8)),
    ]


HALF = (0.5, 0.5, 0.5)

Run = Callable[[], Tensor]
Work = tuple[Callable[[], Run], Tensor]
"""A maker of runs, each with buffers of its own, and the result they must have."""


def work(job: Job, dtype: torch.dtype, device: torch.device) -> Work:
    match job.operator:
        case "attention":
            return _attention(job, dtype, device)
        case "tnt_inner":
            return _inner(job, dtype, device)
        case "tnt_project":
            return _projections(job, dtype, device)
        case _:
            return _linear(job, dtype, device)


def heuristic(job: Job, dtype: torch.dtype, device: torch.device) -> LaunchConfig:
    """What would be taken without a table's entry."""
    match job.operator:
        case "attention":
            return heuristics.attention(job.rows, job.columns, dtype, device)
        case "tnt_inner":
            return tnt_heuristics.tnt_inner(job.rows, job.columns, job.depth, dtype, device)
        case "tnt_project":
            groups = 1 + _tnt(job).depth
            return tnt_heuristics.tnt_project(groups, job.rows, job.columns, job.depth, dtype, device, False)
        case _:
            return heuristics.linear(job.rows, job.columns, job.depth, dtype, device, False, job.detail)


def candidates(job: Job, gpu: Gpu) -> list[LaunchConfig]:
    source: Any = tnt_heuristics if job.operator in ("tnt_inner", "tnt_project") else heuristics
    found: list[LaunchConfig] = source.candidates(job.operator, gpu, job.rows, job.columns, job.depth)
    return found


def _attention(job: Job, dtype: torch.dtype, device: torch.device) -> Work:
    heads = vit_of(job.config).heads
    qkv = torch.randn(job.batch, job.rows, 3 * job.config.dim, device=device).to(dtype)

    def attend() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: attention(qkv, heads, options=options)

    return attend, attention(qkv.float(), heads, options=Options("torch"))


def _linear(job: Job, dtype: torch.dtype, device: torch.device) -> Work:
    x = torch.randn(job.rows, job.depth, device=device).to(dtype)
    weight = (torch.randn(job.columns, job.depth, device=device) / job.depth**0.5).to(dtype)
    weights = LinearWeights(weight, torch.randn(job.columns, device=device))
    wide = LinearWeights(weight.float(), weights.bias)
    residual = None
    if job.detail == "none" and job.columns == job.config.dim:
        residual = torch.randn(job.rows, job.columns, device=device).to(dtype)

    def multiply() -> Run:
        options, statistics = Options("triton", workspace=Workspace()), residual is not None
        return lambda: linear(
            x, weights, activation=job.detail, residual=residual, return_statistics=statistics, options=options
        )[0]

    expected = linear(x.float(), wide, activation=job.detail, options=Options("torch"))[0]
    return multiply, expected if residual is None else expected + residual.float()


def _inner(job: Job, dtype: torch.dtype, device: torch.device) -> Work:
    words = torch.randn(job.rows, job.columns * job.depth, device=device)
    rounded, exact = (_graph(job, kind, device).inner_blocks for kind in (dtype, torch.float32))

    def run() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: tnt_ops.tnt_inner(words.to(dtype), rounded, options=options)

    return run, tnt_ops.tnt_inner(words, exact, options=Options("torch"))


def _projections(job: Job, dtype: torch.dtype, device: torch.device) -> Work:
    weights, exact = (_graph(job, kind, device).inner_projections for kind in (dtype, torch.float32))
    rows = torch.randn(len(weights.weight), job.rows, job.depth, device=device).to(dtype)

    def run() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: tnt_ops.tnt_project(rows, weights, options=options)

    return run, tnt_ops.tnt_project(rows.float(), exact, options=Options("torch"))


def _graph(job: Job, dtype: torch.dtype, device: torch.device) -> FoldedTNT:
    torch.manual_seed(0)
    return fold_tnt(TNT(_tnt(job)), HALF, HALF, dtype=dtype, device=device)


def _tnt(job: Job) -> TNTConfig:
    assert isinstance(job.config, TNTConfig)
    return job.config
