"""A graph's numbers: fp32 as exported, fp16 for GPUs, int8 for CPUs."""

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.manifest import Precision
from models.quantisation import quantise

_KEPT_FP32 = ["ReduceL2", "ReduceSum", "Clip", "Pow", "Sqrt", "LayerNormalization", "Range", "Resize"]
"""Sums of squares pass fp16's 65,504; what stays in fp32 costs no measurable time."""


def convert_precision(graph: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return the graph in another precision; inputs and outputs keep their types.

    int8 quantises what is multiplied by constant matrices, and the rows of embedding tables; convolutions stay fp32,
    which is as fast on CPUs as integer convolution.
    """
    match precision:
        case "fp32":
            return graph
        case "fp16":
            return _without_repeated_casts(
                convert_float_to_float16(graph, keep_io_types=True, op_block_list=_KEPT_FP32)
            )
        case "int8":
            return quantise(graph)


def _without_repeated_casts(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The converter casts a weight back to fp32 once for every node that shares it, each time under the same name."""
    seen: set[str] = set()
    for node in list(graph.graph.node):
        if node.op_type == "Cast" and node.name and node.name in seen:
            graph.graph.node.remove(node)
        seen.add(node.name)
    return graph
