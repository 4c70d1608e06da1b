"""int8 graphs whose rows do not depend on one another (docs/adr/0016)."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper, parser

LARGEST_WEIGHT = 64
"""CPUs without VNNI add two products of uint8 and int8 in 16 bits, which 2 * 255 * 64 does not pass."""
LARGEST_ENTRY = 127

# One step is 1 / 127: a row's largest value becomes 128 + 127 or 128 - 127.
_QUANTIZE_ROWS = """
<opset_import: ["" : {opset}], domain: "sightline">
QuantizeRows (x) => (quantised, largest) {{
    last = Constant <value_ints = [-1]> ()
    least = Constant <value_float = 1e-30> ()
    step = Constant <value_float = 0.007874016> ()
    middle = Constant <value = uint8 {{128}}> ()
    sizes = Abs (x)
    found = ReduceMax <keepdims = 1> (sizes, last)
    largest = Max (found, least)
    shares = Div (x, largest)
    quantised = QuantizeLinear (shares, step, middle)
}}"""
_MULTIPLY_ROWS = """
<opset_import: ["" : {opset}, "com.microsoft" : 1], domain: "sightline">
MultiplyRows (quantised, largest, weight, scale) => (y) {{
    step = Constant <value_float = 0.007874016> ()
    middle = Constant <value = uint8 {{128}}> ()
    shares = com.microsoft.MatMulIntegerToFloat (quantised, weight, step, scale, middle)
    y = Mul (shares, largest)
}}"""
_GATHER_ROWS = """
<opset_import: ["" : {opset}], domain: "sightline">
GatherRows (table, scales, rows) => (y) {{
    taken = Gather (table, rows)
    scale = Gather (scales, rows)
    wide = CastLike (taken, scale)
    y = Mul (wide, scale)
}}"""


def quantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantise what is multiplied by a constant matrix: the matrix by column, its input by row at run time.

    Rows of constant tables are quantised too; all else stays fp32.
    """
    opset = next(used.version for used in model.opset_import if used.domain == "")
    imports = {"": opset, "com.microsoft": 1, "sightline": 1}
    functions = [text.format(opset=opset) for text in (_QUANTIZE_ROWS, _MULTIPLY_ROWS, _GATHER_ROWS)]
    made = helper.make_model(
        _Quantised(model.graph).graph,
        ir_version=model.ir_version,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in imports.items()],
        functions=[parser.parse_function(text) for text in functions],
    )
    inlined = inliner.inline_local_functions(made)
    inlined.opset_import.pop()  # the functions' own domain
    return inlined


class _Quantised:
    """Rewrites a graph node by node."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._quantised: set[str] = set()
        for node in graph.node:
            self._rewrite(node)
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for name, tensor in self._constants.items() if name in used]
        # The shape notes are left out: the exporter's own optimiser does not keep them up.
        self.graph = helper.make_graph(self._nodes, graph.name, graph.input, graph.output, kept)

    def _rewrite(self, node: onnx.NodeProto) -> None:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        match node.op_type:
            case "MatMul" if self._is_matrix(node.input[1]):
                self._multiply(node.input[0], node.input[1], node.output[0])
            case "Gemm" if self._is_matrix(node.input[1]) and _is_linear(attributes):
                self._linear(node, transposed=bool(attributes.get("transB", 0)))
            case "Gather" if self._is_matrix(node.input[0]) and attributes.get("axis", 0) == 0:
                self._gather(node)
            case _:
                self._nodes.append(node)

    def _is_matrix(self, name: str) -> bool:
        tensor = self._constants.get(name)
        return tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2

    def _linear(self, node: onnx.NodeProto, *, transposed: bool) -> None:
        rows, weight, *bias = node.input
        [made] = node.output
        product = f"{made}_product" if bias else made
        self._multiply(rows, weight, product, transposed=transposed)
        if bias:
            self._nodes.append(helper.make_node("Add", [product, *bias], [made]))

    def _multiply(self, rows: str, weight: str, made: str, *, transposed: bool = False) -> None:
        if rows not in self._quantised:  # once for the queries, keys and values of one input
            self._call("QuantizeRows", [rows], [f"{rows}_int8", f"{rows}_largest"])
            self._quantised.add(rows)
        values = numpy_helper.to_array(self._constants[weight])
        columns = values.T if transposed else values
        scale = _scale(columns, LARGEST_WEIGHT, axis=0)
        name = f"{weight}_columns"
        self._keep(name, columns / scale, scale[0])
        self._call("MultiplyRows", [f"{rows}_int8", f"{rows}_largest", name, f"{name}_scale"], [made])

    def _gather(self, node: onnx.NodeProto) -> None:
        table, rows = node.input
        values, name = numpy_helper.to_array(self._constants[table]), f"{table}_rows"
        scale = _scale(values, LARGEST_ENTRY, axis=1)
        self._keep(name, values / scale, scale)
        self._call("GatherRows", [name, f"{name}_scale", rows], list(node.output))

    def _keep(self, name: str, steps: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        self._constants[name] = numpy_helper.from_array(np.rint(steps).astype(np.int8), name)
        self._constants[f"{name}_scale"] = numpy_helper.from_array(scale, f"{name}_scale")

    def _call(self, function: str, inputs: list[str], outputs: list[str]) -> None:
        self._nodes.append(helper.make_node(function, inputs, outputs, name=outputs[0], domain="sightline"))


def _scale(values: NDArray[np.float32], most: int, *, axis: int) -> NDArray[np.float32]:
    """One step along an axis, so that the largest value is `most` steps."""
    largest = np.abs(values).max(axis=axis, keepdims=True)
    return np.where(largest > 0, largest / most, 1).astype(np.float32)


def _is_linear(attributes: dict[str, Any]) -> bool:
    """Whether a Gemm adds the bias to the product, both as they are."""
    return all(attributes.get(name, usual) == usual for name, usual in {"alpha": 1, "beta": 1, "transA": 0}.items())
