"""Graph builder: operators, shared initializers, dtypes, and a model that runs."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from tessella.models.onnx.graph_builder import GraphBuilder


def test_a_written_model_runs(tmp_path: Path) -> None:
    builder = GraphBuilder(2, opset=20, dtype="float32")
    rows = builder.reshape(builder.cast(builder.pixels), 0, -1)
    low, high = builder.ops("Split", rows, outputs=2, axis=1, num_outputs=2)
    total = builder.op("Add", builder.transpose(builder.transpose(low, 1, 0), 1, 0), builder.rows(rows, 6, 12))
    model = builder.model({"sums": (builder.op("Sub", total, high), ir.DataType.FLOAT, 6)})
    ir.save(model, tmp_path / "m.onnx")
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    (sums,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(["sums"], {"pixels": pixels})
    assert np.array_equal(sums, pixels.reshape(2, 12)[:, :6])


def test_an_initializer_is_written_once_and_references_its_array() -> None:
    builder = GraphBuilder(2, opset=20, dtype="float32")
    values = np.ones((2, 3), np.float32)
    weight = builder.weight("w", values)
    assert builder.weight("w", values) is weight
    assert weight.const_value is not None
    assert np.shares_memory(weight.const_value.numpy(), values)
    assert builder.integers(1, 2) is builder.integers(1, 2)
    assert builder.number(0.5).shape == ir.Shape(())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_cast_to_float32_and_back(dtype: str) -> None:
    builder = GraphBuilder(2, opset=20, dtype=dtype)
    wide = builder.wide(builder.cast(builder.pixels))
    node = wide.producer()
    assert node is not None
    assert node.attributes["to"].as_int() == ir.DataType.FLOAT.value
    narrow = builder.narrow(wide).producer()
    assert narrow is not None
    assert narrow.attributes["to"].as_int() == builder.dtype.value


def test_float32_is_not_cast() -> None:
    builder = GraphBuilder(2, opset=20, dtype="float32")
    assert builder.wide(builder.pixels) is builder.pixels
    assert builder.narrow(builder.pixels) is builder.pixels
