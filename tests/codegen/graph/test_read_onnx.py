"""Files are read with all shapes, or refused with a sentence that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper

from codegen.graph.read_onnx import read_onnx
from tests.codegen.graph.networks import node, save_network

CONV = [node("Conv", "x w", "y", kernel_shape=[3, 3])]


def _conv(path: Path, x: list[int | str]) -> Path:
    return save_network(path / "conv.onnx", CONV, {"x": x}, {"w": (4, 2, 3, 3)})


def test_producer_opset_inputs_and_shapes_are_read(tmp_path: Path) -> None:
    graph = read_onnx(_conv(tmp_path, [1, 2, 8, 8]))
    assert (graph.producer, graph.opset) == ("hand", 17)
    assert graph.inputs == {"x": (1, 2, 8, 8)}
    assert graph.shape("y") == (1, 4, 6, 6)
    assert "w" in graph.constants


@pytest.mark.parametrize(("batch", "expected"), [(None, 1), (5, 5)])
def test_a_symbolic_batch_becomes_one_or_what_is_asked_for(
    tmp_path: Path, batch: int | None, expected: int
) -> None:
    assert read_onnx(_conv(tmp_path, ["N", 2, 8, 8]), batch).shape("y") == (expected, 4, 6, 6)


def test_a_fixed_batch_is_kept_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = _conv(tmp_path, [3, 2, 8, 8])
    assert read_onnx(path).shape("y")[0] == 3
    assert read_onnx(path, batch=2).shape("y")[0] == 2


def test_other_symbolic_dimensions_need_a_size(tmp_path: Path) -> None:
    path = _conv(tmp_path, ["N", 2, "rows", 8])
    with pytest.raises(ValueError, match=r"input x has a dimension rows without a size; .*dims=\{rows:"):
        read_onnx(path)
    assert read_onnx(path, dims={"rows": 6}).shape("y") == (1, 4, 4, 6)
    with pytest.raises(ValueError, match="dimension rows must be positive, got 0"):
        read_onnx(path, dims={"rows": 0})
    with pytest.raises(ValueError, match=r"dims names row, but the symbolic .* are: N, rows"):
        read_onnx(path, dims={"rows": 6, "row": 6})


def test_the_batch_written_into_a_reshape_is_replaced(tmp_path: Path) -> None:
    path = save_network(
        tmp_path / "reshape.onnx",
        [node("Reshape", "x shape", "y")],
        {"x": [1, 4, 6]},
        {"shape": np.array([1, 24])},
    )
    assert read_onnx(path, batch=3).shape("y") == (3, 24)


def test_a_reshape_that_does_not_allow_another_batch_is_named(tmp_path: Path) -> None:
    path = save_network(
        tmp_path / "reshape.onnx",
        [node("Reshape", "x shape", "y")],
        {"x": [1, 4, 6]},
        {"shape": np.array([4, 6])},
    )
    with pytest.raises(ValueError, match=r"Reshape turns \[3, 4, 6\] into \[4, 6\]"):
        read_onnx(path, batch=3)


@pytest.mark.parametrize("content", [b"", b"this is no protobuf", bytes(range(256)) * 40])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other.onnx is not an ONNX model"):
        read_onnx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none.onnx: No such file"):
        read_onnx(tmp_path / "none.onnx")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = _conv(tmp_path, [1, 2, 8, 8]).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.onnx"):
            read_onnx(path)


def test_a_value_from_nowhere_means_a_damaged_file(tmp_path: Path) -> None:
    path = save_network(tmp_path / "gap.onnx", [node("Relu", "lost", "y")], {"x": [1, 2]}, {})
    with pytest.raises(ValueError, match="damaged: Relu reads 'lost', which nothing computes"):
        read_onnx(path)


def _external(path: Path, location: str) -> Path:
    _conv(path, [1, 2, 8, 8])
    model = onnx.load(str(path / "conv.onnx"))
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    (path / "conv.onnx").write_bytes(model.SerializeToString())
    return path / "conv.onnx"


def test_weights_in_another_file_are_not_opened(tmp_path: Path) -> None:
    assert read_onnx(_external(tmp_path, "weights/absent.bin")).shape("y") == (1, 4, 6, 6)


@pytest.mark.parametrize(
    "location", ["../weights.bin", "a/../../b", "/etc/passwd", "C:\\weights.bin", "..\\b", ""]
)
def test_data_outside_the_models_folder_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ValueError, match="data of w must be in the model's folder, got"):
        read_onnx(_external(tmp_path, location))


def test_data_outside_is_found_in_nested_graphs_too(tmp_path: Path) -> None:
    tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="../x"))
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=tensor)],
        "branch",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])],
    )
    nodes = [helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)]
    path = save_network(tmp_path / "if.onnx", nodes, {"x": [1]}, {"flag": np.array(True)})
    with pytest.raises(ValueError, match="data of hidden must be in the model's folder"):
        read_onnx(path)


def test_what_follows_from_shapes_and_weights_alone_is_constant(tmp_path: Path) -> None:
    nodes = [node("Shape", "x", "s"), node("Neg", "w", "v"), node("Mul", "x v", "y")]
    graph = read_onnx(save_network(tmp_path / "c.onnx", nodes, {"x": [2, 3]}, {"w": (2, 3)}))
    assert graph.constants == {"w", "s", "v"}


def test_a_branch_that_reads_the_input_makes_its_node_no_constant(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [node("Relu", "x", "r")], "branch", [], [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    )
    nodes = [node("If", "flag", "v", then_branch=branch, else_branch=branch), node("MatMul", "v w", "y")]
    weights = {"flag": np.array(True), "w": (3, 4)}
    graph = read_onnx(save_network(tmp_path / "if.onnx", nodes, {"x": [2, 3]}, weights))
    assert graph.constants == {"flag", "w"}


def test_a_reshape_target_that_copies_the_batch_is_left_alone(tmp_path: Path) -> None:
    path = save_network(
        tmp_path / "reshape.onnx",
        [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Reshape", "t shape", "y")],
        {"x": ["N", 4, 6]},
        {"shape": np.array([0, -1])},
    )
    assert read_onnx(path, batch=3).shape("y") == (4, 18)
