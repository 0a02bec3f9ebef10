"""A traced ONNX graph is made ready to be given away: LayerNorms in float32, its card, no traces of its making."""

import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

NARROW = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TRACED = ("L__self___", "network_", "fused_", "graph_")


def finish(model: ir.Model, metadata: Mapping[str, str]) -> None:
    """In place: what is kept in float32, names, metadata."""
    _widen_norms(model)
    _forget_origins(model)
    model.producer_name, model.producer_version = "tessella", None
    model.metadata_props.update(metadata)


def weight_bytes(model: ir.Model) -> int:
    """Of all initialisers."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def fuse_for_onnxruntime(model: ir.Model) -> None:
    """In place: onnxruntime's own attention and LayerNorm operators, which other runtimes do not know."""
    from onnxscript.rewriter import ort_fusions

    ort_fusions.optimize_for_ort(model)
    model.graph.sort()


def quantise(model: ir.Model, path: Path, *, wide_external: bool = False, external: bool = False) -> None:
    """The file, its weights int8 per channel, activations by the range of each batch; matrix products only.

    One bit less than eight in the weights: x86 without VNNI adds two products in 16 bits, which saturate.

    Args:
        wide_external, external: float32 weights, and int8 ones, are too large for one file.
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
    logging.disable(logging.WARNING)  # it recommends a pre-processing that these graphs do not survive
    try:
        with warnings.catch_warnings(action="ignore"):
            quantize_dynamic(
                wide,
                path,
                use_external_data_format=external,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=_stacked_products(model),
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                # of what comes out of onnxruntime's own operators
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
    finally:
        logging.disable(logging.NOTSET)


def _stacked_products(model: onnx.ModelProto) -> list[str]:
    """Products with a matrix per head, which onnxruntime's int8 operator does not take."""
    stacked = {weight.name for weight in model.graph.initializer if len(weight.dims) > 2}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and not stacked.isdisjoint(node.input)]


def _widen_norms(model: ir.Model) -> None:
    """float32 around each narrow LayerNorm: its squares overflow float16 where activations are large."""
    for node in list(model.graph):
        kind = node.inputs[0].dtype if node.op_type == "LayerNormalization" and node.inputs[0] else None
        if kind not in NARROW:
            continue
        for index, value in enumerate(node.inputs):
            if value is not None:
                node.replace_input_with(index, _cast_before(model, node, value))
        _cast_after(model, node, kind)


def _cast_before(model: ir.Model, node: ir.Node, value: ir.Value) -> ir.Value:
    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value})
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, value.shape
    model.graph.insert_before(node, cast)
    return cast.outputs[0]


def _cast_after(model: ir.Model, node: ir.Node, kind: ir.DataType) -> None:
    (wide,) = node.outputs[:1]
    uses = list(wide.uses())
    cast = ir.node("Cast", [wide], {"to": kind.value})
    cast.outputs[0].dtype, cast.outputs[0].shape = kind, wide.shape
    wide.dtype = ir.DataType.FLOAT
    model.graph.insert_after(node, cast)
    for user, index in uses:
        user.replace_input_with(index, cast.outputs[0])


def _forget_origins(model: ir.Model) -> None:
    """Source lines and module paths of the tracing, and its prefixes to names."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
        name = value.name or ""
        for prefix in _TRACED:
            name = name.removeprefix(prefix)
        if name != value.name and name not in model.graph.initializers:
            value.name = name
