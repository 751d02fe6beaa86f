"""Scores the candidates of one sketch by a tree GRU in native code.

A sketch fixes the topology and most features of its trees. The constant features become part of each
node's bias, and what is left is a fixed sequence of small products and gates, which a compiled machine
runs on one vector of candidates at a time: all states of a tree stay in the L1 cache.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from codegen.ir.jit import Function, compile_function, compiled_once
from costmodel.encoders.treegru_text import ROWS, machine_text
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS
from costmodel.features.featurise import SketchFeatures
from costmodel.native import NativeSketch

FloatArray = NDArray[np.float32]

_FROM_FEATURES, _FROM_STATES, _LEAF_GATES, _INNER_GATES, _FINISH = range(5)


@dataclass(frozen=True)
class Weights:
    """A tree GRU's parameters, input scaling included; first axes are outputs.

    ``input``: (3 hidden, node columns), with ``input_bias``; gates in the order update, reset, candidate.
    ``recurrent``: (3 hidden, hidden). ``readout``: (readout, hidden + program columns), with its bias.
    ``score``: (1 + readout,), the bias first. Sizes are multiples of ``ROWS``. Features are clipped to
    ``node_bounds`` and ``program_bounds`` first, (2, columns): least and greatest.
    """

    input: FloatArray
    input_bias: FloatArray
    recurrent: FloatArray
    readout: FloatArray
    readout_bias: FloatArray
    score: FloatArray
    node_bounds: FloatArray
    program_bounds: FloatArray


def compile_sketch(weights: Weights, features: SketchFeatures) -> NativeSketch:
    """Prepare one sketch: a fraction of a millisecond, to be done again whenever the weights change."""
    return _Builder(weights, features).build()


@functools.cache
def native_lanes() -> int:
    """Candidates in one vector register of this CPU."""
    return 16 if llvm.get_host_cpu_features().get("avx512f") else 8


class _Builder:
    """Lays out weights and scratch rows.

    Scratch rows: the open sums, one per depth (slot d + 1 sums the children of the open node at depth d,
    slot 0 takes the root's state), then the gates of a node, then its recurrent candidate.
    """

    def __init__(self, weights: Weights, features: SketchFeatures) -> None:
        self.given = weights
        self.features = features
        nodes = np.tile(weights.node_bounds, len(features.parents))
        self.bounds = np.concatenate([nodes, weights.program_bounds], axis=1)
        self.constants = np.clip(features.constants, *self.bounds)
        self.constants[features.varying] = 0
        self.hidden = weights.recurrent.shape[1]
        self.depths = _depths(features.parents)
        self.gates = (max(self.depths) + 2) * self.hidden
        self.recurrent = self.gates + max(3 * self.hidden, len(weights.readout_bias))
        self.parts: list[FloatArray] = []
        self.num_weights = 0
        self.code: list[tuple[int, ...]] = []

    def build(self) -> NativeSketch:
        hidden, given = self.hidden, self.given
        inner = (self._packed(given.recurrent[: 2 * hidden]), self._packed(given.recurrent[2 * hidden :]))
        is_summed = [False] * len(self.depths)
        for node in reversed(range(len(self.depths))):
            parent = self.features.parents[node]
            self._node(node, inner, has_children=is_summed[node], adds=parent >= 0 and is_summed[parent])
            is_summed[max(parent, 0)] |= parent >= 0
        self._readout()
        return NativeSketch(
            self.features,
            np.array(self.code, dtype=np.int64),
            np.concatenate(self.parts),
            np.ascontiguousarray(self.bounds[:, self.features.varying]),
            self.recurrent + hidden,
            {lanes: _machine(lanes).address for lanes in (native_lanes() // 2, native_lanes())},
        )

    def _node(self, node: int, inner: tuple[int, int], *, has_children: bool, adds: bool) -> None:
        width, hidden, depth = len(NODE_COLUMNS), self.hidden, self.depths[node]
        self._product_of_features(node * width, width, self.given.input, self.given.input_bias)
        result, sums = depth * hidden, (depth + 1) * hidden
        if not has_children:
            self.code.append((_LEAF_GATES, result, self.gates, hidden, 0, 0, int(adds), 0))
            return
        tiles = hidden // ROWS
        self.code.append((_FROM_STATES, self.gates, sums, 2 * tiles, hidden, inner[0], 1, 0))
        self.code.append((_FROM_STATES, self.recurrent, sums, tiles, hidden, inner[1], 0, 0))
        self.code.append((_INNER_GATES, result, self.gates, hidden, sums, 0, int(adds), self.recurrent))

    def _readout(self) -> None:
        hidden, readout = self.hidden, self.given.readout
        start = len(self.depths) * len(NODE_COLUMNS)
        self._product_of_features(start, len(PROGRAM_COLUMNS), readout[:, hidden:], self.given.readout_bias)
        packed = self._packed(readout[:, :hidden])
        tiles = len(readout) // ROWS
        self.code.append((_FROM_STATES, self.gates, 0, tiles, hidden, packed, 1, 0))
        score = self._kept(self.given.score)
        self.code.append((_FINISH, 0, self.gates, len(readout), 0, score, 0, 0))

    def _product_of_features(self, start: int, width: int, matrix: FloatArray, bias: FloatArray) -> None:
        """Rows of gates = matrix x features ``start .. start + width``; constant ones go into the bias."""
        varying = self.features.varying
        first, last = np.searchsorted(varying, (start, start + width))
        columns = varying[first:last] - start
        # In float64: the sum over the constants must not depend on the library's order of addition.
        constants = self.constants[start : start + width].astype(np.float64)
        folded = bias + (matrix.astype(np.float64) * constants).sum(axis=1)
        packed = self._packed(matrix[:, columns], folded.astype(np.float32))
        tiles = len(matrix) // ROWS
        self.code.append((_FROM_FEATURES, self.gates, int(first), tiles, len(columns), packed, 0, 0))

    def _packed(self, matrix: FloatArray, bias: FloatArray | None = None) -> int:
        """Position of a matrix laid out as the product reads it: per tile of rows the bias, then columns."""
        start = np.zeros(len(matrix), dtype=np.float32) if bias is None else bias
        whole = np.concatenate([start[:, None], matrix], axis=1)
        tiles = whole.reshape(len(matrix) // ROWS, ROWS, -1).transpose(0, 2, 1)
        return self._kept(np.ascontiguousarray(tiles).reshape(-1))

    def _kept(self, array: FloatArray) -> int:
        position = self.num_weights
        self.parts.append(array)
        self.num_weights += len(array)
        return position


def _depths(parents: tuple[int, ...]) -> list[int]:
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    return depths


@compiled_once
def _machine(lanes: int) -> Function:
    """Compiled once per process; any number of lanes is right, the native one fast."""
    # Without this preference LLVM splits 16 lanes in two on some CPUs that have them.
    more = ",-prefer-256-bit" if lanes == 16 else ""
    arguments = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 5
    return compile_function(machine_text(lanes), "fold", arguments, more)
