"""A job's work with random inputs, and what it must come to: what the tuner checks and times."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..kernels import tnt_ops
from ..kernels.device import Gpu
from ..kernels.ops import attention, linear
from ..kernels.options import Options, Workspace
from ..kernels.tuning import heuristics, tnt_heuristics
from ..kernels.tuning.heuristics import Tile
from ..kernels.weights import LinearWeights
from ..models.config import TNTConfig
from ..models.folding.fold_tnt import fold_tnt
from ..models.folding.graph import FoldedTNT
from ..models.networks.tnt import TNT
from .jobs import Job, vit_of

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
        case "project_words":
            return _projections(job, dtype, device)
        case _:
            return _linear(job, dtype, device)


def heuristic(job: Job, dtype: torch.dtype, device: torch.device) -> Tile:
    """What would be taken without a table's entry."""
    match job.operator:
        case "attention":
            return heuristics.attention(job.rows, job.columns, dtype, device)
        case "tnt_inner":
            return tnt_heuristics.tnt_inner(job.rows, job.columns, job.depth, dtype, device)
        case "project_words":
            groups = 1 + _tnt(job).depth
            return tnt_heuristics.project_words(groups, job.rows, job.columns, job.depth, dtype, device, False)
        case _:
            return heuristics.linear(job.rows, job.columns, job.depth, dtype, device, False, job.detail)


def candidates(job: Job, gpu: Gpu) -> list[Tile]:
    source: Any = tnt_heuristics if job.operator in ("tnt_inner", "project_words") else heuristics
    found: list[Tile] = source.candidates(job.operator, gpu, job.rows, job.columns, job.depth)
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
            x, weights, activation=job.detail, residual=residual, statistics=statistics, options=options
        )[0]

    expected = linear(x.float(), wide, activation=job.detail, options=Options("torch"))[0]
    return multiply, expected if residual is None else expected + residual.float()


def _inner(job: Job, dtype: torch.dtype, device: torch.device) -> Work:
    words = torch.randn(job.rows, job.columns * job.depth, device=device)
    rounded, exact = (_graph(job, kind, device).inner for kind in (dtype, torch.float32))

    def run() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: tnt_ops.tnt_inner(words.to(dtype), rounded, options=options)

    return run, tnt_ops.tnt_inner(words, exact, options=Options("torch"))


def _projections(job: Job, dtype: torch.dtype, device: torch.device) -> Work:
    weights, exact = (_graph(job, kind, device).sentences for kind in (dtype, torch.float32))
    rows = torch.randn(len(weights.weight), job.rows, job.depth, device=device).to(dtype)

    def run() -> Run:
        options = Options("triton", workspace=Workspace())
        return lambda: tnt_ops.project_words(rows, weights, options=options)

    return run, tnt_ops.project_words(rows.float(), exact, options=Options("torch"))


def _graph(job: Job, dtype: torch.dtype, device: torch.device) -> FoldedTNT:
    torch.manual_seed(0)
    return fold_tnt(TNT(_tnt(job)), HALF, HALF, dtype=dtype, device=device)


def _tnt(job: Job) -> TNTConfig:
    assert isinstance(job.config, TNTConfig)
    return job.config
