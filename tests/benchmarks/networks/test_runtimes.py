"""Candidates in graph runtimes compute what timm computes: one small network, exported in both ways."""

import torch

from tessella.benchmarks.networks.candidates import ENGINES, engine_of
from tessella.benchmarks.networks.measure import compare
from tessella.benchmarks.networks.runtimes import runtime_candidates
from tessella.kernels.reference import normalise
from tessella.models.checkpoints.convert import translate
from tessella.models.checkpoints.description import Description
from tessella.models.config import ViTConfig
from tessella.models.networks.build import build_with_weights
from tessella.models.networks.vit import ViT
from tessella.models.preprocessing.preprocess import Preprocessing

from ...support.references import timm_network

CONFIG = ViTConfig(image_size=32, dim=192, depth=1, heads=3, mlp_dim=768, num_classes=5)
PREPROCESSING = Preprocessing(size=32, resize=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def test_both_exports_compute_what_timm_computes() -> None:
    published = timm_network("vit_tiny_patch16_224", depth=1, img_size=32, num_classes=5)
    network = build_with_weights(CONFIG, translate(published.state_dict(), CONFIG))
    assert isinstance(network, ViT)
    labels = tuple("abcde")
    description = Description(name="v", config=CONFIG, preprocessing=PREPROCESSING, labels=labels)
    candidates = runtime_candidates(published, network, description, [torch.float32])
    assert set(candidates) == {
        *(f"{whose} {engine} float32" for whose in ("timm", "tessella") for engine in ("onnxruntime", "openvino")),
        "timm openvino-streams float32",
    }
    assert {engine_of(name) for name in candidates} <= set(ENGINES)
    mean, std = torch.tensor(PREPROCESSING.mean), torch.tensor(PREPROCESSING.std)

    @torch.inference_mode()
    def eager(pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = published(normalise(pixels, mean, std, torch.float32))
        return logits

    for batch in (1, 3):
        pixels = torch.randint(0, 256, (batch, 32, 32, 3), dtype=torch.uint8)
        compare({"timm eager float32": eager, **candidates}, pixels)
