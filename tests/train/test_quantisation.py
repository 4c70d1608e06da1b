"""int8 graphs against the fp32 graphs that they are made of."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx", reason="quantisation needs the train extra")
import onnxruntime as ort

from models.quantisation import quantise

pytestmark = pytest.mark.train

WIDTH = 96
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
graph (float[n, 96] x) => (float[n, 64] y) {
    product = MatMul (x, square)
    linear = Gemm <transB = 1> (x, turned, bias)
    y = Add (product, linear)
}
"""


def model(square: NDArray[np.float32], turned: NDArray[np.float32], bias: NDArray[np.float32]) -> onnx.ModelProto:
    return parsed(GRAPH, square=square, turned=turned, bias=bias)


def parsed(text: str, **constants: NDArray[np.float32]) -> onnx.ModelProto:
    made = onnx.parser.parse_model(text)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    return made


def drawn(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def run(made: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    quantised = quantise(model(drawn(WIDTH, 64), drawn(64, WIDTH), drawn(64)))
    rows = drawn(5, WIDTH) * np.array([[1e-3], [1], [1e3], [0], [1]], dtype=np.float32)
    assert np.array_equal(run(quantised, rows), np.concatenate([run(quantised, row[None]) for row in rows]))


def test_products_are_near_those_of_fp32() -> None:
    whole = model(drawn(WIDTH, 64), drawn(64, WIDTH), drawn(64))
    rows = drawn(32, WIDTH)
    wanted, found = run(whole, rows), run(quantise(whole), rows)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_the_largest_products_do_not_saturate() -> None:
    whole = model(np.ones((WIDTH, 64), np.float32), np.ones((64, WIDTH), np.float32), np.zeros(64, np.float32))
    assert run(quantise(whole), np.ones((3, WIDTH), np.float32)) == pytest.approx(2 * WIDTH, rel=1e-5)


def test_a_row_of_zeros_gives_the_bias() -> None:
    bias = drawn(64)
    whole = model(drawn(WIDTH, 64), drawn(64, WIDTH), bias)
    assert run(quantise(whole), np.zeros((1, WIDTH), np.float32))[0] == pytest.approx(bias, abs=1e-6)


def test_an_input_is_quantised_once_for_all_that_is_multiplied_with_it() -> None:
    quantised = quantise(model(drawn(WIDTH, 64), drawn(64, WIDTH), drawn(64)))
    counts = Counter(node.op_type for node in quantised.graph.node)
    assert (counts["QuantizeLinear"], counts["MatMulIntegerToFloat"], counts["MatMul"], counts["Gemm"]) == (1, 2, 0, 0)
    assert {used.domain for used in quantised.opset_import} == {"", "com.microsoft"}


def test_rows_of_a_table_are_near_those_of_fp32() -> None:
    graph = """
    <ir_version: 10, opset_import: ["" : 20]>
    graph (int64[n] x) => (float[n, 96] y) { y = Gather (table, x) }
    """
    table = drawn(200, WIDTH) * np.geomspace(1e-3, 1e3, 200, dtype=np.float32)[:, None]
    whole = parsed(graph, table=table)
    rows = np.array([0, 199, 7, 7], dtype=np.int64)
    found = run(quantise(whole), rows)
    assert (np.abs(found - table[rows]) <= np.abs(table[rows]).max(axis=1, keepdims=True) / 253).all()
