"""Graph builder: nodes and initializers of an ONNX graph, written one operator at a time. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

ORT_DOMAIN = "com.microsoft"
"""Operators of onnxruntime itself."""
IR_VERSION = 10
DTYPES = {"float32": ir.DataType.FLOAT, "float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}


class GraphBuilder:
    """An ONNX graph over uint8 pixels (B, size, size, 3) under construction.

    Matrix products run in `dtype`; LayerNorm and what is added to embedded patches stay float32.

    Args:
        opset: version of the standard operators.
        dtype: `float32`, `float16` or `bfloat16`.
        fusions: onnxruntime's own attention and skip-LayerNorm operators take the place of standard ones.
    """

    def __init__(self, size: int, *, opset: int, dtype: str, fusions: bool = False) -> None:
        self.opset, self.dtype, self.fusions = opset, DTYPES[dtype], fusions
        self.pixels = ir.val("pixels", ir.DataType.UINT8, ["batch", size, size, 3])
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}

    def op(
        self, kind: str, *inputs: ir.Value | None, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> ir.Value:
        """The first output of a new node."""
        return self.ops(kind, *inputs, outputs=outputs, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: ir.Value | None, outputs: int, domain: str = "", **attributes: Any
    ) -> Sequence[ir.Value]:
        """All outputs of a new node."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        node = ir.node(kind, inputs, attributes, domain=domain, num_outputs=outputs, name=name)
        for index, value in enumerate(node.outputs):
            value.name = f"{name}.{index}" if index else name
        self._nodes.append(node)
        return node.outputs

    def weight(self, name: str, values: NDArray[Any]) -> ir.Value:
        """An initializer with these values, in their dtype; an array is referenced and not copied."""
        if name not in self._initializers:
            tensor = ir.tensor(np.array(values, order="C", copy=None), name=name)
            self._initializers[name] = ir.Value(
                name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(values.shape)
            )
        return self._initializers[name]

    def integers(self, *values: int) -> ir.Value:
        """An int64 initializer (n,): shapes, axes and sizes."""
        return self.weight(f"int64_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def number(self, value: float, dtype: ir.DataType | None = None) -> ir.Value:
        """A scalar initializer of the graph's dtype, or of another."""
        kind = dtype or self.dtype
        return self.weight(f"{kind.name.lower()}_{value!r}", np.array(value, kind.numpy()))

    def cast(self, x: ir.Value, dtype: ir.DataType | None = None) -> ir.Value:
        """A conversion to the graph's dtype, or to another."""
        return self.op("Cast", x, to=(dtype or self.dtype).value)

    def wide(self, x: ir.Value) -> ir.Value:
        """A float32 copy of values of the graph's dtype."""
        return x if self.dtype == ir.DataType.FLOAT else self.cast(x, ir.DataType.FLOAT)

    def narrow(self, x: ir.Value) -> ir.Value:
        """float32 values in the graph's dtype."""
        return x if self.dtype == ir.DataType.FLOAT else self.cast(x)

    def reshape(self, x: ir.Value, *shape: int) -> ir.Value:
        """A view of another shape; 0 keeps a dimension, -1 takes what is left."""
        return self.op("Reshape", x, self.integers(*shape))

    def transpose(self, x: ir.Value, *order: int) -> ir.Value:
        return self.op("Transpose", x, perm=list(order))

    def rows(self, x: ir.Value, first: int, last: int, axis: int = 1) -> ir.Value:
        """Slice `first` to `last` (without it) along an axis."""
        return self.op("Slice", x, *(self.integers(bound) for bound in (first, last, axis)))

    def model(self, outputs: dict[str, tuple[ir.Value, ir.DataType, int]]) -> ir.Model:
        """The finished model.

        Args:
            outputs: value, dtype and number of columns of each output (B, columns), by name.
        """
        for name, (value, dtype, columns) in outputs.items():
            value.name, value.dtype, value.shape = name, dtype, ir.Shape(["batch", columns])
        graph = ir.Graph(
            [self.pixels],
            [value for value, _, _ in outputs.values()],
            nodes=self._nodes,
            initializers=list(self._initializers.values()),
            opset_imports={"": self.opset} | ({ORT_DOMAIN: 1} if self.fusions else {}),
            name="tessella",
        )
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="tessella")
