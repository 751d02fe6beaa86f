"""Operators of drawn shapes: programs to learn from besides those of known networks.

Shapes are within what one measurement can afford: 2 million to 1.2 billion operations where multiplications
are most of the work, and at most 20 million weights or elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

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
    operator_parameters,
)
from datasets.tasks import Task

# fmt: off
SIDES = (
    6, 7, 8, 10, 12, 13, 14, 15, 16, 17, 19, 20, 24, 26, 28, 30, 32, 35, 38, 40, 48, 52, 56, 60, 64,
    75, 80, 96, 104, 112, 128, 150,
)
CHANNELS = (
    8, 12, 16, 20, 24, 32, 36, 40, 48, 56, 64, 72, 80, 96, 112, 120, 128, 144, 160, 176, 192, 224,
    256, 288, 320, 384, 416, 448, 512, 576, 640, 672, 768, 832, 960, 1024,
)
# fmt: on
CHAINS = (("gelu",), ("add", "relu"), ("sigmoid", "mul"), ("relu",), ("gelu_tanh",))
FEWEST_FLOPS, MOST_FLOPS, MOST_ELEMENTS = 2e6, 1.2e9, 2e7


def draw_tasks(num: int, rng: np.random.Generator) -> list[Task]:
    """``num`` different operators, named ``drawn_<operator>_<number>``, the kinds in fixed shares.

    Raises:
        ValueError: if ``num`` is not positive.
    """
    if num < 1:
        raise ValueError(f"the number of operators to draw must be positive, got {num}")
    draw, tasks = _Draw(rng), []
    seen: set[str] = set()
    counts: dict[str, int] = {}
    for (_, draw_one), wanted in zip(_KINDS.values(), _shared_out(num)):
        while wanted:
            operator = draw_one(draw)
            if operator.program().hash in seen:
                continue
            seen.add(operator.program().hash)
            name = operator.operator_name
            counts[name] = counts.get(name, 0) + 1
            parameters: Mapping[str, Any] = operator_parameters(operator)
            tasks.append(Task(f"drawn_{name}_{counts[name]}", name, parameters))
            wanted -= 1
    return tasks


class _Draw:
    """What is drawn from a generator, one after the other."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self._turns: dict[Sequence[Any], int] = {}

    def pick(self, values: Sequence[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def in_turn(self, values: Sequence[Any]) -> Any:
        """The values one after the other, over and over; nothing is drawn."""
        turn = self._turns[values] = self._turns.get(values, -1) + 1
        return values[turn % len(values)]

    def happens(self, chance: float) -> bool:
        return bool(self.rng.random() < chance)

    def power(self, low: float, high: float) -> int:
        """Between two powers of two, every octave alike."""
        return round(2 ** self.rng.uniform(low, high))


def _convolution(draw: _Draw, kind: str) -> Conv2d:
    while True:
        height = draw.pick(SIDES)
        width = height if draw.happens(0.8) else draw.pick(SIDES)
        kernel, stride = draw.pick((1, 1, 1, 3, 3, 3, 3, 5, 7)), draw.pick((1, 1, 1, 2))
        inputs, outputs, groups = draw.pick(CHANNELS), draw.pick(CHANNELS), 1
        if kind == "first":
            inputs, outputs = draw.pick((1, 3, 3, 4)), draw.pick((16, 24, 32, 48, 64, 96))
            kernel, stride = draw.pick((3, 5, 7, 11)), draw.pick((1, 2, 2, 4))
            height = width = draw.pick((64, 96, 128, 160, 192, 224))
        if kind == "depthwise":
            kernel = draw.pick((3, 3, 3, 5, 7))
            outputs = groups = inputs
        if kind == "grouped":
            groups = draw.pick((2, 4, 8, 32))
        if inputs % groups or outputs % groups or kernel > min(height, width):
            continue
        has_channels_last = kind in ("plain", "depthwise") and draw.happens(0.12)
        has_epilogue = draw.happens(0.2)
        operator = Conv2d(
            height=height,
            width=width,
            in_channels=inputs,
            out_channels=outputs,
            kernel=kernel,
            stride=stride,
            padding=kernel // 2 if draw.happens(0.85) else 0,
            groups=groups,
            layout="NHWC" if has_channels_last else "NCHW",
            bias=has_epilogue,
            relu=has_epilogue,
        )
        num_weights = inputs * outputs // groups * kernel * kernel
        if FEWEST_FLOPS < operator.flops < MOST_FLOPS and num_weights < MOST_ELEMENTS:
            return operator


def _matmul(draw: _Draw) -> Matmul:
    while True:
        m, k, n = (_often_round(draw, draw.power(3, 11.5)) for _ in range(3))
        if draw.happens(0.12):
            m = 1
        batch = draw.pick((4, 8, 12, 16)) if draw.happens(0.2) else 1
        transposes = {"transpose_a": draw.happens(0.1), "transpose_b": draw.happens(0.25)}
        operator = Matmul(m=m, k=k, n=n, batch=batch, **transposes, bias=draw.happens(0.2))
        num_elements = batch * (m * k + k * n + m * n)
        if FEWEST_FLOPS < operator.flops < MOST_FLOPS and num_elements < MOST_ELEMENTS:
            return operator


def _often_round(draw: _Draw, size: int) -> int:
    """The size, or in seven of ten cases the nearest multiple of 16."""
    return max(1, round(size / 16) * 16) if draw.happens(0.7) else size


def _matrix(draw: _Draw) -> tuple[int, int]:
    while True:
        rows, columns = draw.power(3, 11), draw.power(4, 12)
        if 3e4 < rows * columns < 4e6:
            return rows, columns


def _softmax(draw: _Draw) -> Softmax:
    rows, columns = _matrix(draw)
    return Softmax(rows=rows, cols=columns)


def _layer_norm(draw: _Draw) -> LayerNorm:
    rows, columns = _matrix(draw)
    return LayerNorm(rows=rows, cols=columns)


def _reduce(draw: _Draw) -> Reduce:
    rows, columns = _matrix(draw)
    return Reduce(rows=rows, cols=columns, kind=draw.pick(("sum", "max", "mean")))


def _transpose(draw: _Draw) -> Transpose:
    rows, columns = _matrix(draw)
    return Transpose(rows=rows, cols=columns)


def _elementwise(draw: _Draw) -> Elementwise:
    return Elementwise(shape=_matrix(draw), ops=draw.pick(CHAINS))


def _pool(draw: _Draw) -> Pool2d:
    while True:
        side, kernel, stride = draw.pick(SIDES[6:]), draw.pick((2, 3, 3, 5)), draw.pick((1, 2, 2))
        channels = draw.pick(CHANNELS)
        if 5e4 <= side * side * channels <= 3e6:
            break
    padding, kind = draw.pick((0, kernel // 2)), draw.pick(("max", "average"))
    return Pool2d(
        height=side, width=side, channels=channels, kernel=kernel, stride=stride, padding=padding, kind=kind
    )


def _global_pool(draw: _Draw) -> GlobalAveragePool:
    side = draw.in_turn((7, 10, 14, 28))
    return GlobalAveragePool(channels=draw.pick(CHANNELS[10:]), height=side, width=side)


def _scale_shift(draw: _Draw) -> ScaleShift:
    side = draw.in_turn((14, 28, 48, 56, 80))
    return ScaleShift(channels=draw.pick(CHANNELS[4:]), size=side * side, relu=draw.happens(0.5))


_KINDS: dict[str, tuple[int, Callable[[_Draw], Operator]]] = {
    "convolution": (92, partial(_convolution, kind="plain")),
    "first layer": (8, partial(_convolution, kind="first")),
    "depthwise convolution": (24, partial(_convolution, kind="depthwise")),
    "grouped convolution": (10, partial(_convolution, kind="grouped")),
    "matrix product": (42, _matmul),
    "softmax": (8, _softmax),
    "layer normalisation": (6, _layer_norm),
    "reduction": (5, _reduce),
    "transposition": (4, _transpose),
    "element-wise chain": (6, _elementwise),
    "pooling": (9, _pool),
    "global pooling": (4, _global_pool),
    "scale and shift": (5, _scale_shift),
}
"""Weights: how many of each are among the shipped 223, chosen by hand with convolutions first."""


def _shared_out(num: int) -> list[int]:
    """How many of each kind, by largest remainders."""
    weights = np.array([weight for weight, _ in _KINDS.values()])
    exact = num * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: num - counts.sum()]] += 1
    return [int(count) for count in counts]
