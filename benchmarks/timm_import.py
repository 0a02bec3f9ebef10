"""Workaround for importing torchvision beside a CPU-only torch; import this before timm or transformers.

Both import torchvision, whose compiled operators may not load there:
`from tessella.benchmarks import timm_import  # noqa: F401`, then `import timm` or `import transformers`.
"""

import importlib

import torch


def make_torchvision_importable() -> None:
    """Declare the two operators that torchvision's Python code expects, where its compiled library did not load.

    Neither is called here: they are non-maximum suppression of boxes, which classifiers do not use.
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
