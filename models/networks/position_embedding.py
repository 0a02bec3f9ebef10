"""Position embeddings of a ViT (appendix D.4 of the paper): learned, factorised, sin-cos or none."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import ViTConfig
from .position_table import sincos_table


class PositionEmbedding(nn.Module):
    """Position embedding, added to the tokens: `forward` is (B, N, D) -> (B, N, D)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.kind = config.position
        covered = config.prefix_tokens if config.position_prefix and config.position != "sincos" else 0
        self.uncovered = config.prefix_tokens - covered
        match config.position:
            case "learned":
                self.weight = nn.Parameter(torch.zeros(covered + config.grid**2, config.dim))
            case "factorised":
                self.prefix = nn.Parameter(torch.zeros(covered, config.dim))
                self.row = nn.Parameter(torch.zeros(config.grid, config.dim // 2))
                self.column = nn.Parameter(torch.zeros(config.grid, config.dim - config.dim // 2))
            case "sincos":
                self.register_buffer("fixed", torch.from_numpy(sincos_table(config.grid, config.dim)), persistent=False)
            case "none":
                pass
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:  # (B, N, D) -> (B, N, D)
        return tokens if self.kind == "none" else tokens + self.table()

    def table(self) -> Tensor:
        """Position table (tokens, D), prefix tokens first; zero for those without a row.

        Raises:
            ValueError: the network has no position embedding.
        """
        return F.pad(self._rows(), (0, 0, self.uncovered, 0))

    def _rows(self) -> Tensor:
        match self.kind:
            case "learned":
                return self.weight
            case "factorised":
                grid = len(self.row)
                rows, columns = self.row[:, None].expand(-1, grid, -1), self.column[None].expand(grid, -1, -1)
                return torch.cat([self.prefix, torch.cat([rows, columns], dim=-1).flatten(0, 1)])
            case "sincos":
                return self.get_buffer("fixed")
            case _:
                raise ValueError("position='none' has no position table")
