"""A graph's numbers: fp32 as exported, fp16 for GPUs, int8 weights for CPUs."""

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.manifest import Precision

_KEPT_FP32 = ["ReduceL2", "ReduceSum", "Clip", "Pow", "Sqrt", "LayerNormalization", "Range", "Resize"]
"""Sums of squares pass fp16's 65,504; what stays in fp32 costs no measurable time."""


def convert_precision(graph: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return the graph in another precision; inputs and outputs keep their types.

    int8 quantises the weights of MatMul and Gemm per channel and their inputs at run time (dynamic), and the
    rows of embedding tables; convolutions stay fp32, which is faster on CPUs than dynamic integer convolution.
    """
    match precision:
        case "fp32":
            return graph
        case "fp16":
            return _without_repeated_casts(
                convert_float_to_float16(graph, keep_io_types=True, op_block_list=_KEPT_FP32)
            )
        case "int8":
            return _int8(graph)


def _without_repeated_casts(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The converter casts a weight back to fp32 once for every node that shares it, each time under the same name."""
    seen: set[str] = set()
    for node in list(graph.graph.node):
        if node.op_type == "Cast" and node.name and node.name in seen:
            graph.graph.node.remove(node)
        seen.add(node.name)
    return graph


def _int8(graph: onnx.ModelProto) -> onnx.ModelProto:
    # The exporter's shape notes are not kept up by its own optimiser; the quantiser infers them anew.
    del graph.graph.value_info[:]
    with tempfile.TemporaryDirectory() as temporary:
        source, made = Path(temporary) / "fp32.onnx", Path(temporary) / "int8.onnx"
        onnx.save_model(graph, source)
        quantize_dynamic(
            source,
            made,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load(made)
