"""Quantisation of an ONNX model to int8, by ONNX Runtime. No torch."""

import logging
import tempfile
import warnings
from pathlib import Path

import onnx
import onnx_ir as ir


def weight_bytes(model: ir.Model) -> int:
    """Size of all initialisers in bytes."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def quantise(model: ir.Model, path: Path, *, wide_external: bool = False, external: bool = False) -> None:
    """Quantise matrix products to int8 and write the file: weights per channel, activations dynamically per batch.

    Weights use 7 bits: x86 without VNNI sums two products in 16 bits, which would saturate.

    Args:
        wide_external: float32 weights are too large for one file.
        external: int8 weights are too large for one file.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        wide = Path(folder) / "float32.onnx"
        ir.save(model, wide, external_data=f"{wide.name}.data" if wide_external else None)
        _quantise(wide, path, external)


def _quantise(wide: Path, path: Path, external: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(wide, load_external_data=False)
    del model.graph.value_info[:]  # stale shapes make the quantiser's shape inference fail
    onnx.save(model, wide)
    logging.disable(logging.WARNING)  # it recommends a pre-processing that breaks these graphs
    try:
        with warnings.catch_warnings(action="ignore"):
            quantize_dynamic(
                wide,
                path,
                use_external_data_format=external,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=_batched_products(model),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                # dtype of the outputs of ONNX Runtime's own operators
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
    finally:
        logging.disable(logging.NOTSET)


def _batched_products(model: onnx.ModelProto) -> list[str]:
    """Products with one weight matrix per head, which ONNX Runtime's int8 operator does not support."""
    stacked = {weight.name for weight in model.graph.initializer if len(weight.dims) > 2}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and not stacked.isdisjoint(node.input)]
