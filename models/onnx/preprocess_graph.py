"""Preprocessing inside an ONNX graph: images of any size in, the network's pixels out. No torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ..preprocessing.preprocess import Preprocessing
from .signature import PIXELS

IMAGES = "images"
"""Name of the graph's input."""
_MODES: dict[str, dict[str, Any]] = {
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
    "bilinear": {"mode": "linear"},
}
_ANTIALIASED: dict[str, Any] = {"antialias": 1, "exclude_outside": 1, "axes": [1, 2]}


def check_preprocessing(preprocessing: Preprocessing) -> None:
    """Raises ValueError if ONNX has no operator for the interpolation with Pillow's antialiasing."""
    if preprocessing.interpolation not in _MODES:
        raise ValueError(
            f"ONNX has no antialiased {preprocessing.interpolation} resize, only {', '.join(_MODES)}: "
            "leave --preprocess out"
        )


def prepend_preprocessing(model: ir.Model, preprocessing: Preprocessing) -> None:
    """Prepend resize and crop, in place: the input becomes uint8 images (B, H, W, 3) with dynamic B, H and W.

    Follows Pillow as far as the operator Resize does: half-pixel centres, a filter scaled for antialiasing, weights
    outside the image excluded, the result rounded and clipped to uint8.

    Args:
        model: a graph over uint8 pixels (B, size, size, 3).
    """
    prefix = _Prefix(model)
    (network_input,) = model.graph.inputs
    images = ir.val(IMAGES, ir.DataType.UINT8, ["batch", "height", "width", 3])
    sides = [prefix.add("Shape", [images], start=axis, end=axis + 1) for axis in (1, 2)]
    resized_sides = _resized(prefix, sides, preprocessing)
    sizes = prefix.add("Concat", resized_sides, axis=0)
    resized = prefix.add("Resize", [images, None, None, sizes], **_ANTIALIASED | _MODES[preprocessing.interpolation])
    start = prefix.add("Concat", [_margin(prefix, side, preprocessing) for side in resized_sides], axis=0)
    end = prefix.add("Add", [start, prefix.constant(preprocessing.size)])
    cropped = prefix.add("Slice", [resized, start, end, prefix.constant(1, 2)])
    pixels = prefix.add("Reshape", [cropped, prefix.constant(0, preprocessing.size, preprocessing.size, 3)])
    pixels.dtype, pixels.shape = ir.DataType.UINT8, network_input.shape
    network_input.replace_all_uses_with(pixels)
    network_input.name, pixels.name = None, PIXELS
    model.graph.inputs[0] = images
    model.graph.insert_before(model.graph[0], prefix.nodes)


class _Prefix:
    """Builder of the prepended nodes and constants, with unique names."""

    def __init__(self, model: ir.Model) -> None:
        self.nodes: list[ir.Node] = []
        self._graph = model.graph
        self._constants: dict[tuple[int | float, ...], ir.Value] = {}

    def add(self, kind: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        name = f"preprocess_{len(self.nodes)}_{kind.lower()}"
        node = ir.node(kind, inputs, attributes, name=name)
        node.outputs[0].name = name
        self.nodes.append(node)
        return node.outputs[0]

    def constant(self, *values: int | float) -> ir.Value:
        """Initialiser (n,), int64 or, for floats, float32."""
        if values not in self._constants:
            kind = np.float32 if isinstance(values[0], float) else np.int64
            name = f"preprocess_{'_'.join(map(str, values))}"
            tensor = ir.tensor(np.array(values, kind), name=name)
            value = ir.Value(
                name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape((len(values),))
            )
            self._graph.register_initializer(value)
            self._constants[values] = value
        return self._constants[values]


def _resized(prefix: _Prefix, sides: list[ir.Value], preprocessing: Preprocessing) -> list[ir.Value]:
    """Height and width after the resize, each int64 (1,)."""
    if preprocessing.mode == "squash":
        return [prefix.constant(preprocessing.resize)] * 2
    shorter = prefix.add("Min", sides)
    return [
        prefix.add("Div", [prefix.add("Mul", [side, prefix.constant(preprocessing.resize)]), shorter]) for side in sides
    ]


def _margin(prefix: _Prefix, side: ir.Value, preprocessing: Preprocessing) -> ir.Value:
    """Pixels cut off before the crop, int64 (1,)."""
    spare = prefix.add("Sub", [side, prefix.constant(preprocessing.size)])
    if preprocessing.crop == "floor":
        return prefix.add("Div", [spare, prefix.constant(2)])
    half = prefix.add("Div", [prefix.add("Cast", [spare], to=ir.DataType.FLOAT.value), prefix.constant(2.0)])
    return prefix.add("Cast", [prefix.add("Round", [half])], to=ir.DataType.INT64.value)
