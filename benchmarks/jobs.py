"""What there is to tune: the shapes of the networks' operators, and the ways there are to run a composite."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch

from ..kernels.tuning import tables
from ..models.config import Config, TNTConfig, ViTConfig
from ..models.execution.folded_tnt import WORDS
from ..models.folding.fold_tnt import outer_config
from .halves import COMPOSITES
from .roofline import config_of


@dataclass(frozen=True, slots=True)
class Job:
    """One shape of one operator.

    For `attention` rows are tokens and columns the head's width, whatever the batch; for `tnt_inner` rows are patches,
    columns a word's channels and the depth a patch's words; for `project_words` rows are patches.
    """

    operator: str
    rows: int
    columns: int
    depth: int
    detail: str
    config: Config
    batch: int

    def key(self, dtype: torch.dtype) -> str:
        return tables.key(self.operator, self.rows, self.columns, self.depth, dtype, self.detail)


@dataclass(frozen=True, slots=True)
class Question:
    """Which way a composite of a network runs quicker at a batch size."""

    composite: str
    config: Config
    batch: int

    def key(self, dtype: torch.dtype) -> str:
        return tables.key(self.composite, self.batch * self.config.tokens, self.config.dim, 0, dtype)


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
        composites = (*COMPOSITES, WORDS) if isinstance(config, TNTConfig) else COMPOSITES
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
        Job("project_words", patches, config.dim, width, "none", config, batch),
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
