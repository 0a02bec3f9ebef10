"""ONNX model of a classifier, written from its folded weights: uint8 pixels in, logits and more out. No torch."""

from collections.abc import Mapping, Sequence
from typing import Literal

import onnx_ir as ir

from ..config import Config, TNTConfig
from ..folding.fold_tnt import fold_tnt
from ..folding.fold_vit import CPU_STEPS, NO_STEPS, fold_vit
from ..folding.graph import Array
from .graph_builder import GraphBuilder
from .tnt_graph import TNTGraph
from .vit_graph import ViTGraph

Form = Literal["folded", "plain"]
Output = tuple[ir.Value, ir.DataType, int]
"""Value, dtype and number of columns of an output (B, columns)."""


def classifier_model(
    config: Config,
    weights: Mapping[str, Array],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    opset: int = 20,
    form: Form = "folded",
    dtype: str = "float32",
    fusions: bool = False,
    softmax: bool = False,
    top_k: int | None = None,
) -> ir.Model:
    """ONNX model of a network with a head, over uint8 pixels (B, size, size, 3), B dynamic.

    Args:
        weights: state dict of the network, as `fold_vit`.
        mean, std: per channel, in units of the pixel range 0..1.
        form: `folded` applies the folds that pay in any runtime; `plain` none but those of a TNT's inner blocks.
        dtype: of weights and arithmetic; LayerNorms and outputs are float32.
        fusions: attention is ONNX Runtime's own operator.
        softmax: a second output, `probabilities` (B, classes).
        top_k: further outputs, the highest `scores` (B, k) and their `indices`, int64 (B, k).
    """
    builder = GraphBuilder(config.image_size, opset=opset, dtype=dtype, fusions=fusions)
    steps = NO_STEPS if form == "plain" else CPU_STEPS
    if isinstance(config, TNTConfig):
        graph: ViTGraph = TNTGraph(builder, fold_tnt(config, weights, mean, std, steps, dtype=dtype))
    else:
        graph = ViTGraph(builder, fold_vit(config, weights, mean, std, steps, dtype=dtype))
    outputs = _outputs(builder, graph.logits(), config.num_classes, softmax=softmax, top_k=top_k)
    return builder.model(outputs)


def _outputs(
    builder: GraphBuilder, logits: ir.Value, classes: int, *, softmax: bool, top_k: int | None
) -> dict[str, Output]:
    outputs: dict[str, Output] = {"logits": (logits, ir.DataType.FLOAT, classes)}
    if not softmax and not top_k:
        return outputs
    probabilities = builder.op("Softmax", logits, axis=1)
    if softmax:
        outputs["probabilities"] = (probabilities, ir.DataType.FLOAT, classes)
    if top_k:
        scores, indices = builder.ops("TopK", probabilities, builder.integers(top_k), outputs=2, axis=1)
        outputs |= {"scores": (scores, ir.DataType.FLOAT, top_k), "indices": (indices, ir.DataType.INT64, top_k)}
    return outputs
