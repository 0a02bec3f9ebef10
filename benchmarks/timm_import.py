"""timm and transformers import torchvision, whose operators may not load beside a CPU-only torch: import this first.

from tessella.benchmarks import timm_import  # noqa: F401, then `import timm` or `import transformers`
"""

import importlib

import torch


def make_torchvision_importable() -> None:
    """Declares the two operators that torchvision's Python side registers itself for, where its library did not load.

    Neither is ever called here: they suppress overlapping boxes, and a classifier has none.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_library = torch.library.Library("torchvision", "FRAGMENT")
make_torchvision_importable()
