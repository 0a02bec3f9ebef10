"""Model of a peer in the service benchmark, replaced: the class is the number in the body."""

from typing import Any

import torch
from torch import Tensor


class PeerModel:
    """Stand-in for `TimmModel` without timm or weights."""

    def __init__(self, options: object) -> None: ...

    def decode(self, data: bytes) -> Tensor:
        return torch.full((3, 2, 2), float(data))

    def predict(self, images: Tensor) -> list[list[dict[str, Any]]]:
        return [[{"index": int(image[0, 0, 0]), "score": 0.5}] for image in images]
