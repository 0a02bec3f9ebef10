"""How alike the positions of a table are: cosines between its rows, as figures 7 of the ViT paper show them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tnt import TNT
from ..vit import ViT


def cosines(table: Tensor) -> Tensor:
    """(places, D) -> (places, places), -1 to 1; a place's row is one map over all places."""
    rows = F.normalize(table, dim=1)
    return rows @ rows.T


@torch.no_grad()
def similarities(network: ViT | TNT) -> dict[str, list[list[float]]]:
    """`patches`: between the places of patches; `words`: of a TNT's sub-patches. Only of tables that there are."""
    if isinstance(network, ViT):
        config = network.config
        tables = {"patches": None if config.position == "none" else network.position_embedding.table()}
        return _rounded(tables, config.grid**2)
    return _rounded({"patches": network.outer_position}, network.config.grid**2) | _rounded(
        {"words": network.inner_position}, network.config.words
    )


def _rounded(tables: dict[str, Tensor | None], places: int) -> dict[str, list[list[float]]]:
    """The last `places` rows of each table that is there; the others belong to prefix tokens."""
    return {
        name: [[round(value, 2) for value in row] for row in cosines(table[-places:]).tolist()]
        for name, table in tables.items()
        if table is not None
    }
