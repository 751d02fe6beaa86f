"""Tasks of networks: what becomes one operator, what is counted, what is not supported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import NodeProto, TensorProto, helper

from codegen.graph.onnx_tasks import NetworkTasks, onnx_tasks
from codegen.ops import (
    Conv2d,
    Elementwise,
    GlobalAveragePool,
    LayerNorm,
    Matmul,
    Operator,
    Pool2d,
    Reduce,
    ScaleShift,
    Softmax,
    Transpose,
    make_operator,
    operator_parameters,
)
from tests.codegen.graph.networks import node, save_network

NETWORKS = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
IMAGE = {"x": [1, 2, 8, 8]}
CONV = node("Conv", "x w", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
W = {"w": (2, 2, 3, 3)}
NORM = {"s": (2,), "b": (2,), "m": (2,), "v": (2,)}


class Tasks:
    """Reads networks into operators, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def network(
        self,
        nodes: Sequence[NodeProto],
        inputs: Mapping[str, Sequence[int | str]],
        weights: Mapping[str, Sequence[int] | np.ndarray] | None = None,
        opset: int = 17,
    ) -> NetworkTasks:
        return onnx_tasks(save_network(self.folder / "net.onnx", nodes, inputs, weights or {}, opset=opset))

    def operators(
        self,
        nodes: Sequence[NodeProto],
        inputs: Mapping[str, Sequence[int | str]],
        weights: Mapping[str, Sequence[int] | np.ndarray] | None = None,
        opset: int = 17,
    ) -> list[Operator]:
        network = self.network(nodes, inputs, weights, opset)
        assert not network.unsupported
        return [task.operator for task in network.tasks for _ in range(task.count)]


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    return Tasks(tmp_path)


def conv(*, bias: bool = False, relu: bool = False, residual: bool = False) -> Conv2d:
    return Conv2d(
        height=8,
        width=8,
        in_channels=2,
        out_channels=2,
        kernel=3,
        padding=1,
        bias=bias,
        relu=relu,
        residual=residual,
    )


def test_batch_normalisation_folds_into_the_bias(tasks: Tasks) -> None:
    nodes = [CONV, node("BatchNormalization", "c s b m v", "n"), node("Relu", "n", "y")]
    assert tasks.operators(nodes, IMAGE, W | NORM) == [conv(bias=True, relu=True)]


def test_a_factor_per_channel_folds_into_the_weights(tasks: Tasks) -> None:
    nodes = [CONV, node("Mul", "c s", "y")]
    assert tasks.operators(nodes, IMAGE, {**W, "s": (2, 1, 1)}) == [conv()]


def test_a_residual_and_relu_are_part_of_the_convolution(tasks: Tasks) -> None:
    nodes = [CONV, node("Add", "c x", "a"), node("Relu", "a", "y")]
    assert tasks.operators(nodes, IMAGE, W) == [conv(residual=True, relu=True)]


def test_only_one_of_two_convolutions_takes_their_sum(tasks: Tasks) -> None:
    nodes = [CONV, node("Conv", "x w", "d", pads=[1, 1, 1, 1]), node("Add", "c d", "y")]
    assert tasks.operators(nodes, IMAGE, W) == [conv(residual=True), conv()]


def test_a_result_that_is_read_twice_ends_the_epilogue(tasks: Tasks) -> None:
    nodes = [CONV, node("Relu", "c", "r"), node("Sub", "c r", "y")]
    expected = [
        conv(),
        Elementwise(shape=(1, 2, 8, 8), ops=("relu",)),
        Elementwise(shape=(1, 2, 8, 8), ops=("sub",)),
    ]
    assert tasks.operators(nodes, IMAGE, W) == expected


def test_nothing_follows_the_relu_of_an_epilogue(tasks: Tasks) -> None:
    nodes = [CONV, node("Relu", "c", "r"), node("Add", "r x", "y")]
    assert tasks.operators(nodes, IMAGE, W) == [
        conv(relu=True),
        Elementwise(shape=(1, 2, 8, 8), ops=("add",)),
    ]


def test_normalisation_after_a_residual_is_an_operator_of_its_own(tasks: Tasks) -> None:
    nodes = [
        CONV,
        node("Add", "c x", "a"),
        node("BatchNormalization", "a s b m v", "n"),
        node("Relu", "n", "y"),
    ]
    assert tasks.operators(nodes, IMAGE, W | NORM) == [
        conv(residual=True),
        ScaleShift(channels=2, size=64, relu=True),
    ]


@pytest.mark.parametrize(
    ("mode", "stride", "padding"),
    [("SAME_UPPER", 2, (0, 0, 1, 1)), ("SAME_LOWER", 2, (1, 1, 0, 0)), ("SAME_UPPER", 1, 1), ("VALID", 1, 0)],
)
def test_automatic_padding(
    tasks: Tasks, mode: str, stride: int, padding: int | tuple[int, int, int, int]
) -> None:
    nodes = [node("Conv", "x w", "y", auto_pad=mode, strides=[stride, stride])]
    (operator,) = tasks.operators(nodes, IMAGE, W)
    expected = Conv2d(height=8, width=8, in_channels=2, out_channels=2, stride=stride, padding=padding)
    assert operator == expected


def test_depthwise_and_grouped_convolutions_keep_their_groups(tasks: Tasks) -> None:
    nodes = [node("Conv", "x w", "y", group=2, dilations=[2, 1])]
    (operator,) = tasks.operators(nodes, IMAGE, {"w": (2, 1, 3, 3)})
    assert isinstance(operator, Conv2d)
    assert operator.is_depthwise
    assert operator.dilation == (2, 1)


def test_gemm_and_matmul_are_matrix_products(tasks: Tasks) -> None:
    gemm = [node("Gemm", "x w c", "y", transB=1)]
    assert tasks.operators(gemm, {"x": [3, 4]}, {"w": (5, 4), "c": (5,)}) == [
        Matmul(m=3, k=4, n=5, transpose_b=True, bias=True)
    ]
    projection = [node("MatMul", "x w", "p"), node("Add", "p c", "y")]
    assert tasks.operators(projection, {"x": [2, 3, 4]}, {"w": (4, 5), "c": (5,)}) == [
        Matmul(m=6, k=4, n=5, bias=True)
    ]
    attention = [node("MatMul", "x z", "y")]
    assert tasks.operators(attention, {"x": [2, 6, 3, 4], "z": [2, 6, 4, 3]}) == [
        Matmul(batch=12, m=3, k=4, n=3)
    ]


@pytest.mark.parametrize("scaled", ["Mul", "BatchNormalization"])
def test_a_factor_after_the_sum_of_gemm_with_a_tensor_is_an_operator_of_its_own(
    tasks: Tasks, scaled: str
) -> None:
    gemm = node("Gemm", "x w z", "g")
    last = node("Mul", "g s", "y") if scaled == "Mul" else node("BatchNormalization", "g s b m v", "y")
    norm: dict[str, tuple[int, ...]] = dict.fromkeys("sbmv", (5,))
    assert tasks.operators([gemm, last], {"x": [3, 4], "z": [3, 5]}, {"w": (4, 5), **norm}) == [
        Matmul(m=3, k=4, n=5, residual=True),
        ScaleShift(batch=3, channels=5, size=1),
    ]


def test_pooling_with_ceil_mode_pads_below_and_on_the_right(tasks: Tasks) -> None:
    nodes = [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)]
    assert tasks.operators(nodes, IMAGE) == [
        Pool2d(height=8, width=8, channels=2, kernel=3, stride=2, padding=(0, 0, 1, 1))
    ]


def test_means_of_images_and_rows(tasks: Tasks) -> None:
    assert tasks.operators([node("GlobalAveragePool", "x", "y")], IMAGE) == [
        GlobalAveragePool(channels=2, height=8, width=8)
    ]
    assert tasks.operators([node("ReduceMean", "x", "y", axes=[2, 3])], IMAGE) == [
        Reduce(rows=2, cols=64, kind="mean")
    ]
    summed = [node("ReduceSum", "x axes", "y")]
    assert tasks.operators(summed, IMAGE, {"axes": np.array([-1])}) == [Reduce(rows=16, cols=8)]


def test_a_sum_over_no_axes_is_one_over_all_or_nothing(tasks: Tasks) -> None:
    summed, none = [node("ReduceSum", "x axes", "y")], {"axes": np.array([], np.int64)}
    assert tasks.operators(summed, {"x": [2, 3]}, none) == [Reduce(rows=1, cols=6)]
    assert tasks.operators([node("ReduceSum", "x", "y")], {"x": [2, 3]}) == [Reduce(rows=1, cols=6)]
    for inputs in ("x axes", "x"):
        kept = [node("ReduceSum", inputs, "s", noop_with_empty_axes=1), node("Relu", "s", "y")]
        assert tasks.operators(kept, {"x": [2, 3]}, none) == [Elementwise(shape=(2, 3), ops=("relu",))]


def test_softmax_has_the_meaning_of_its_opset(tasks: Tasks) -> None:
    nodes = [node("Softmax", "x", "y")]
    assert tasks.operators(nodes, {"x": [2, 3, 4]}, opset=11) == [Softmax(rows=2, cols=12)]
    assert tasks.operators(nodes, {"x": [2, 3, 4]}, opset=17) == [Softmax(rows=6, cols=4)]
    network = tasks.network([node("Softmax", "x", "y", axis=1)], {"x": [2, 3, 4]})
    assert network.unsupported == {"Softmax (axis 1 of 3)": 1}


def test_layer_normalisation(tasks: Tasks) -> None:
    nodes = [node("LayerNormalization", "x s b", "y", epsilon=0.5)]
    assert tasks.operators(nodes, {"x": [2, 3, 4]}, {"s": (4,), "b": (4,)}) == [
        LayerNorm(rows=6, cols=4, eps=0.5)
    ]


@pytest.mark.parametrize(
    ("shape", "order", "expected"),
    [
        ([3, 4], [1, 0], (3, 4)),
        ([1, 3, 4, 5], [0, 2, 3, 1], (3, 20)),
        ([1, 4, 5, 3], [0, 3, 1, 2], (20, 3)),
        ([2, 1, 3], [2, 1, 0], (2, 3)),
    ],
)
def test_transpositions_of_two_blocks_are_two_dimensional(
    tasks: Tasks, shape: list[int | str], order: list[int], expected: tuple[int, int]
) -> None:
    nodes = [node("Transpose", "x", "y", perm=order)]
    assert tasks.operators(nodes, {"x": shape}) == [Transpose(rows=expected[0], cols=expected[1])]


def test_moving_a_dimension_of_size_one_costs_nothing(tasks: Tasks) -> None:
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Relu", "t", "y")]
    assert tasks.operators(nodes, {"x": [1, 3, 4]}) == [Elementwise(shape=(3, 1, 4), ops=("relu",))]


def test_other_transpositions_are_not_supported(tasks: Tasks) -> None:
    network = tasks.network([node("Transpose", "x", "y", perm=[0, 2, 1])], {"x": [2, 3, 4]})
    assert network.unsupported == {"Transpose (perm [0, 2, 1])": 1}


def test_elementwise_nodes_in_a_row_are_one_operator(tasks: Tasks) -> None:
    nodes = [node("Add", "x z", "a"), node("Tanh", "a", "t"), node("Mul", "z t", "y")]
    assert tasks.operators(nodes, {"x": [2, 3], "z": [2, 3]}) == [
        Elementwise(shape=(2, 3), ops=("add", "tanh", "mul"))
    ]


def test_a_value_times_its_own_sigmoid_is_silu(tasks: Tasks) -> None:
    nodes = [node("Sigmoid", "x", "s"), node("Mul", "x s", "y")]
    assert tasks.operators(nodes, {"x": [2, 3]}) == [Elementwise(shape=(2, 3), ops=("silu",))]


def test_clips_from_zero_are_relus(tasks: Tasks) -> None:
    limits = {"low": np.array(0.0, np.float32), "high": np.array(6.0, np.float32)}
    assert tasks.operators([node("Clip", "x low high", "y")], {"x": [2, 3]}, limits) == [
        Elementwise(shape=(2, 3), ops=("relu6",))
    ]
    assert tasks.operators([node("Clip", "x", "y", min=0.0)], {"x": [2, 3]}, opset=6) == [
        Elementwise(shape=(2, 3), ops=("relu",))
    ]
    network = tasks.network([node("Clip", "x", "y", min=0.0, max=1.0)], {"x": [2, 3]}, opset=6)
    assert network.unsupported == {"Clip (0 to 1)": 1}


def test_views_and_constants_cost_nothing(tasks: Tasks) -> None:
    nodes = [node("Neg", "w", "n"), node("Flatten", "x", "f"), node("Gemm", "f n", "y")]
    assert tasks.operators(nodes, {"x": [1, 2, 3]}, {"w": (6, 4)}) == [Matmul(m=1, k=6, n=4)]


def test_what_is_not_supported_is_counted_by_name(tasks: Tasks) -> None:
    nodes = [
        node("Conv", "z k", "c"),
        node("LRN", "x", "l", size=3),
        node("LRN", "l", "m", size=3),
        node("Add", "m b", "y"),
    ]
    network = tasks.network(nodes, IMAGE | {"z": [1, 2, 8]}, {"k": (2, 2, 3), "b": (8, 8)})
    assert network.unsupported == {"Conv (1 spatial dimensions)": 1, "LRN": 2, "Add (broadcast)": 1}
    assert network.total_flops == 0


def test_bytes_are_those_of_operands_and_result(tasks: Tasks) -> None:
    (task,) = tasks.network([node("MatMul", "x w", "y")], {"x": [3, 4]}, {"w": (4, 5)}).tasks
    assert task.num_bytes == 4 * (3 * 4 + 4 * 5 + 3 * 5)


@pytest.mark.parametrize(
    ("name", "num_operators", "giga_flops", "unsupported"),
    [
        ("resnet50", 57, 8.2, {}),
        ("vgg19", 25, 39.3, {}),
        ("squeezenet", 31, 0.71, {"Concat": 8}),
        ("shufflenet", 59, 0.26, {"Concat": 3, "Transpose (perm [0, 2, 1, 3, 4])": 16}),
        ("inception_v2", 84, 4.1, {"Concat": 10}),
        ("densenet121", 188, 5.7, {"Concat": 58}),
        ("bvlc_alexnet", 12, 1.3, {"LRN": 2}),
    ],
)
def test_networks_of_the_literature_have_the_known_work(
    name: str, num_operators: int, giga_flops: float, unsupported: dict[str, int]
) -> None:
    network = onnx_tasks(NETWORKS / f"light_{name}.onnx")
    assert sum(task.count for task in network.tasks) == num_operators
    assert network.total_flops / 1e9 == pytest.approx(giga_flops, rel=0.03)
    assert network.unsupported == unsupported
    assert len({task.name for task in network.tasks}) == len(network.tasks)
    for task in network.tasks:
        again = make_operator(task.operator.operator_name, operator_parameters(task.operator))
        assert again == task.operator


def test_four_images_are_four_times_the_work() -> None:
    path = NETWORKS / "light_shufflenet.onnx"
    assert onnx_tasks(path, batch=4).total_flops == 4 * onnx_tasks(path).total_flops


def test_a_result_that_a_branch_reads_is_not_fused(tasks: Tasks) -> None:
    branch = helper.make_graph(
        [node("Neg", "c", "n")], "branch", [], [helper.make_tensor_value_info("n", TensorProto.FLOAT, None)]
    )
    nodes = [
        CONV,
        node("Relu", "c", "r"),
        node("If", "flag", "i", then_branch=branch, else_branch=branch),
        node("Add", "r i", "y"),
    ]
    network = tasks.network(nodes, IMAGE, {**W, "flag": np.array(True)})
    operators = [task.operator for task in network.tasks]
    assert operators[:2] == [conv(), Elementwise(shape=(1, 2, 8, 8), ops=("relu", "add"))]
    assert network.unsupported == {"If": 1}
