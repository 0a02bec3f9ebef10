"""Tuning jobs: the shapes of the networks' operators, and comparisons between implementations of a sub-block."""

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
from ...models.execution.folded_tensors import fold_network
from ...models.execution.folded_tnt import ORDER_KEY
from ...models.folding.fold_tnt import outer_config
from ...models.folding.graph import FoldedTNT
from ...models.networks.tnt import TNT
from ..roofline import config_of
from .sub_blocks import COMPOSITES

MEAN = STD = (0.5, 0.5, 0.5)

Run = Callable[[], Tensor]
Work = tuple[Callable[[], Run], Tensor]
"""Factory of runs, each with its own buffers, and their expected result."""


@dataclass(frozen=True, slots=True)
class TuningJob:
    """One shape of one operator: rows × columns of the result, and the depth of its products.

    For `attention` rows are tokens and columns the head's width, whatever the batch; for `tnt_inner` rows are patches,
    columns an inner token's channels and depth the inner tokens of a patch; for `tnt_project` rows are patches.
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
class Comparison:
    """Comparison of the variants of a sub-block, or of the orders of a TNT's inner path, at one batch size."""

    composite: str
    config: Config
    batch: int

    def key(self, dtype: torch.dtype) -> str:
        return tables.entry_key(self.composite, self.batch * self.config.tokens, self.config.dim, 0, dtype)


def tuning_jobs(architectures: Sequence[str], batches: Sequence[int]) -> Iterator[TuningJob]:
    """Operator shapes of the networks' blocks, each once."""
    seen = set()
    for architecture in architectures:
        config = config_of(architecture)
        for batch in batches:
            for job in _jobs(config, batch):
                if (shape := (job.operator, job.rows, job.columns, job.depth, job.detail)) not in seen:
                    seen.add(shape)
                    yield job


def comparisons(architectures: Sequence[str], batches: Sequence[int]) -> Iterator[Comparison]:
    """Comparisons for each sub-block of each shape once, and for the inner path of each TNT."""
    seen = set()
    for architecture in architectures:
        config = config_of(architecture)
        composites = (*COMPOSITES, ORDER_KEY) if isinstance(config, TNTConfig) else COMPOSITES
        for batch, composite in product(batches, composites):
            if (shape := (composite, batch * config.tokens, config.dim)) not in seen:
                seen.add(shape)
                yield Comparison(composite, config, batch)


def vit_of(config: Config) -> ViTConfig:
    """Configuration of a ViT, or of a TNT's outer stack."""
    return outer_config(config) if isinstance(config, TNTConfig) else config


def _jobs(config: Config, batch: int) -> list[TuningJob]:
    if not isinstance(config, TNTConfig):
        return _block_jobs(config, batch)
    patches, width = batch * config.grid**2, config.words * config.inner_dim
    return [
        TuningJob("tnt_inner", patches, config.inner_dim, config.words, "none", config, batch),
        TuningJob("tnt_project", patches, config.dim, width, "none", config, batch),
        *_block_jobs(outer_config(config), batch),
    ]


def _block_jobs(config: ViTConfig, batch: int) -> list[TuningJob]:
    rows, dim, hidden = batch * config.tokens, config.dim, config.mlp_dim
    contracted = hidden // 2 if config.feedforward == "swiglu" else hidden
    return [
        TuningJob("linear", rows, hidden, dim, config.feedforward, config, batch),
        TuningJob("linear", rows, dim, contracted, "none", config, batch),
        TuningJob("linear", rows, 3 * dim, dim, "none", config, batch),
        TuningJob("linear", rows, dim, dim, "none", config, batch),
        TuningJob("attention", config.tokens, dim // config.heads, 0, "none", config, max(batch, 8)),
    ]


def work(job: TuningJob, dtype: torch.dtype, device: torch.device) -> Work:
    """Runs of a job with random inputs, and their expected result."""
    match job.operator:
        case "attention":
            return _attention(job, dtype, device)
        case "tnt_inner":
            return _inner(job, dtype, device)
        case "tnt_project":
            return _projections(job, dtype, device)
        case _:
            return _linear(job, dtype, device)


def heuristic(job: TuningJob, dtype: torch.dtype, device: torch.device) -> LaunchConfig:
    """Launch configuration that the heuristic chooses without an entry in the table."""
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


def candidates(job: TuningJob, gpu: Gpu) -> list[LaunchConfig]:
    """Launch configurations to measure for a job."""
    module: Any = tnt_heuristics if job.operator in ("tnt_inner", "tnt_project") else heuristics
    configs: list[LaunchConfig] = module.candidates(job.operator, gpu, job.rows, job.columns, job.depth)
    return configs


def _attention(job: TuningJob, dtype: torch.dtype, device: torch.device) -> Work:
    heads = vit_of(job.config).heads
    qkv = torch.randn(job.batch, job.rows, 3 * job.config.dim, device=device).to(dtype)

    def attend() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: attention(qkv, heads, options=options)

    return attend, attention(qkv.float(), heads, options=Options("torch"))


def _linear(job: TuningJob, dtype: torch.dtype, device: torch.device) -> Work:
    x = torch.randn(job.rows, job.depth, device=device).to(dtype)
    weight = (torch.randn(job.columns, job.depth, device=device) / job.depth**0.5).to(dtype)
    weights = LinearWeights(weight, torch.randn(job.columns, device=device))
    exact = LinearWeights(weight.float(), weights.bias)
    residual = None
    if job.detail == "none" and job.columns == job.config.dim:
        residual = torch.randn(job.rows, job.columns, device=device).to(dtype)

    def multiply() -> Run:
        options, statistics = Options("triton", workspace=Workspace()), residual is not None
        return lambda: linear(
            x, weights, activation=job.detail, residual=residual, return_statistics=statistics, options=options
        )[0]

    expected = linear(x.float(), exact, activation=job.detail, options=Options("torch"))[0]
    return multiply, expected if residual is None else expected + residual.float()


def _inner(job: TuningJob, dtype: torch.dtype, device: torch.device) -> Work:
    tokens = torch.randn(job.rows, job.columns * job.depth, device=device)
    rounded, exact = (_graph(job, precision, device).inner_blocks for precision in (dtype, torch.float32))

    def run() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: tnt_ops.tnt_inner(tokens.to(dtype), rounded, options=options)

    return run, tnt_ops.tnt_inner(tokens, exact, options=Options("torch"))


def _projections(job: TuningJob, dtype: torch.dtype, device: torch.device) -> Work:
    weights, exact = (_graph(job, precision, device).inner_projections for precision in (dtype, torch.float32))
    rows = torch.randn(len(weights.weight), job.rows, job.depth, device=device).to(dtype)

    def run() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: tnt_ops.tnt_project(rows, weights, options=options)

    return run, tnt_ops.tnt_project(rows.float(), exact, options=Options("torch"))


def _graph(job: TuningJob, dtype: torch.dtype, device: torch.device) -> FoldedTNT:
    torch.manual_seed(0)
    return fold_network(TNT(_tnt(job)), MEAN, STD, dtype=dtype, device=device)


def _tnt(job: TuningJob) -> TNTConfig:
    assert isinstance(job.config, TNTConfig)
    return job.config
