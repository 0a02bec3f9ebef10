"""timm model of both peers: its network and its transform, their response format and their command-line options."""

import argparse
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config
from torch import Tensor

TOP_K = 5


@dataclass(frozen=True, slots=True)
class Options:
    """Command-line options of a peer: the settings that all servers of a comparison share."""

    folder: Path
    port: int
    threads: int
    max_batch_size: int
    device: str
    dtype: str

    @classmethod
    def parse(cls) -> "Options":
        """Parse the command line."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--folder", type=Path, required=True)
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--threads", type=int, required=True)
        parser.add_argument("--max-batch-size", type=int, default=32)
        parser.add_argument("--device", default="cpu")
        parser.add_argument("--dtype", default="float32")
        return cls(**vars(parser.parse_args()))


class TimmModel:
    """timm model from a folder with `model.safetensors` and `config.json`, used as in timm's documentation."""

    def __init__(self, options: Options) -> None:
        torch.set_num_threads(options.threads)
        config = json.loads((options.folder / "config.json").read_text())
        state = load_file(options.folder / "model.safetensors")
        depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
        network = timm.create_model(config["architecture"], num_classes=config["num_classes"], depth=depth)
        network.load_state_dict(state)
        self.device, self.dtype = torch.device(options.device), getattr(torch, options.dtype)
        self.network = network.eval().to(self.device, self.dtype)
        self.transform: Any = create_transform(**resolve_data_config(config["pretrained_cfg"]), is_training=False)

    def decode(self, data: bytes) -> Tensor:
        """Decode and transform a JPEG file to float32 (3, H, W)."""
        pixels: Tensor = self.transform(Image.open(io.BytesIO(data)).convert("RGB"))
        return pixels

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[list[dict[str, Any]]]:
        """Top classes of each image of a batch (B, 3, H, W), with their scores."""
        logits = self.network(images.to(self.device, self.dtype))
        scores, indices = logits.float().softmax(-1).topk(TOP_K)
        rows = zip(indices.tolist(), scores.tolist(), strict=True)
        return [[{"index": i, "score": s} for i, s in zip(*row, strict=True)] for row in rows]


def response(predictions: list[dict[str, Any]], **stages_ms: float) -> dict[str, Any]:
    """JSON of one response, with the keys of `/classify`."""
    return {"results": [{"predictions": predictions}], "timings_ms": stages_ms}
