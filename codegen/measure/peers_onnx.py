"""onnxruntime as a peer, on a model of one operator built in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from codegen.measure.arrays import touched_copy, touched_zeros
from codegen.measure.memory_peers_onnx import memory_nodes
from codegen.measure.peers import Binder, Runner
from codegen.ops import Conv2d, Matmul, Operator
from codegen.ops.window import both_dimensions, four_sides

OPSET = 20
IR_VERSION = 9

Operands = Mapping[str, NDArray[np.float32]]


def onnxruntime_binder(operator: Operator, num_threads: int) -> Binder | None:
    """A runner of a session with all graph optimisations and ``num_threads`` threads.

    None for an operator that is no node of ONNX. Images are NCHW there, as ONNX wants them; those of an
    NHWC operator are turned before, not timed.
    """
    if not isinstance(operator, (Conv2d, Matmul)) and memory_nodes(operator) is None:
        return None
    return lambda operands: _bind(operator, operands, num_threads)


def _bind(operator: Operator, operands: Operands, num_threads: int) -> Runner:
    shapes = operator.user_shapes()
    is_channels_last = isinstance(operator, Conv2d) and operator.layout == "NHWC"
    arrays = {name: touched_copy(array, shapes[name]) for name, array in operands.items()}
    if is_channels_last:
        for name in {"x", "residual"} & set(arrays):
            arrays[name] = np.ascontiguousarray(arrays[name].transpose(0, 3, 1, 2))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    constants = {tensor.name for tensor in operator.program().inputs if tensor.is_constant}
    y_shape = shapes["y"]
    stored = tuple(y_shape[i] for i in (0, 3, 1, 2)) if is_channels_last else y_shape
    model = build_model(operator, arrays, constants, stored)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    for name in arrays.keys() - constants:
        binding.bind_cpu_input(name, np.ascontiguousarray(arrays[name]))
    y = touched_zeros(stored)
    binding.bind_output("y", "cpu", 0, np.float32, stored, y.ctypes.data)

    def run() -> NDArray[np.float32]:
        session.run_with_iobinding(binding)
        return y.transpose(0, 2, 3, 1) if is_channels_last else y

    return run


def build_model(
    operator: Operator, arrays: Operands, constants: set[str], y_shape: tuple[int, ...]
) -> Any:  # onnx.ModelProto; onnx is not typed
    """An ONNX model with inputs for what varies and initialisers for ``constants``."""
    nodes, more = _nodes(operator)
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes,
        operator.operator_name,
        inputs=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in arrays.items()
            if name not in constants
        ],
        outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        initializer=[
            *(numpy_helper.from_array(np.ascontiguousarray(arrays[n]), n) for n in sorted(constants)),
            *more,
        ],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _nodes(operator: Operator) -> tuple[list[Any], list[Any]]:
    """Nodes in order, and initialisers that are no operands."""
    if isinstance(operator, (Conv2d, Matmul)):
        main = _conv2d_nodes(operator) if isinstance(operator, Conv2d) else _matmul_nodes(operator)
        return [*main, *_epilogue_nodes(operator, main[-1].output[0])], []
    found = memory_nodes(operator)
    assert found is not None, "the binder has asked"
    return found


def _conv2d_nodes(operator: Conv2d) -> list[Any]:
    shapes = operator.user_shapes()
    inputs = ["x", "w", "bias"] if operator.bias else ["x", "w"]
    node = helper.make_node(
        "Conv",
        inputs,
        ["main"],
        kernel_shape=shapes["w"][2:],
        strides=both_dimensions(operator.stride),
        dilations=both_dimensions(operator.dilation),
        pads=four_sides(operator.padding),
        group=operator.groups,
    )
    return [node]


def _matmul_nodes(operator: Matmul) -> list[Any]:
    has_transposes = operator.transpose_a or operator.transpose_b
    if operator.batch == 1 and (has_transposes or operator.bias):
        inputs = ["a", "b", "bias"] if operator.bias else ["a", "b"]
        turn_a, turn_b = int(operator.transpose_a), int(operator.transpose_b)
        return [helper.make_node("Gemm", inputs, ["main"], transA=turn_a, transB=turn_b)]
    nodes, names = [], []
    order = [0, 2, 1] if operator.batch > 1 else [1, 0]
    for name, is_transposed in (("a", operator.transpose_a), ("b", operator.transpose_b)):
        names.append(f"{name}_turned" if is_transposed else name)
        if is_transposed:
            nodes.append(helper.make_node("Transpose", [name], [names[-1]], perm=order))
    nodes.append(helper.make_node("MatMul", names, ["main"]))
    if operator.bias:
        nodes.append(helper.make_node("Add", ["main", "bias"], ["biased"]))
    return nodes


def _epilogue_nodes(operator: Conv2d | Matmul, value: str) -> list[Any]:
    nodes = []
    if operator.residual:
        nodes.append(helper.make_node("Add", [value, "residual"], ["summed"]))
        value = "summed"
    if operator.relu:
        nodes.append(helper.make_node("Relu", [value], ["positive"]))
    return nodes
