"""Tiny ONNX files for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, save_model


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node whose inputs and outputs are separated by spaces."""
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def save_network(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, Sequence[int] | np.ndarray],
    output: str = "y",
    opset: int = 17,
) -> Path:
    """Write a model; weights given by shape are zeros."""
    arrays = {
        name: value if isinstance(value, np.ndarray) else np.zeros(value, dtype=np.float32)
        for name, value in weights.items()
    }
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, producer_name="hand", opset_imports=[helper.make_opsetid("", opset)])
    save_model(model, str(path))
    return path
