"""CLBlast's matrix product (kernel Xgemm, GEMMK = 0) as a loop AST over its 14 parameters.

Source: C. Nugteren, "CLBlast: A Tuned OpenCL BLAS Library" (arXiv:1705.05249), and the public source of the
kernel and of its tuner (github.com/CNugteren/CLBlast, src/kernels/level3/xgemm_part1 to 3).

A work group computes a tile of MWG x NWG of the result, KWG terms of each sum at a time, by MDIMC x NDIMC
threads. It is what the loop AST calls a thread, and its threads are lanes: loops over them are
``vectorized``, innermost the one whose neighbours are neighbours in a warp, so a statement has run for all
threads when the next one starts, as after a barrier. What a thread does one after another is ``unrolled``;
a vector that it loads or stores at once (VWM, VWN) is ``vectorized`` again. Shared memory is ``local``,
private memory ``register``. Matrices are padded to whole tiles before the kernel runs, so there are no
guards; the factors alpha and beta are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Binary, Constant, Load
from codegen.ir.loops import Buffer, Loop, LoopKind, LoopProgram, Node, Scope, Store

PARAMETERS = (
    *("MWG", "NWG", "KWG", "MDIMC", "NDIMC", "MDIMA", "NDIMB"),
    *("KWI", "VWM", "VWN", "STRM", "STRN", "SA", "SB"),
)
"""Tile of a work group, its threads, how these stand when they copy A and B to shared memory, unrolling along
K, vector widths, whether the vectors of a thread lie apart, and whether A and B go through shared memory."""

STAGINGS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""Values of SA and SB, which change the shape of the loop tree: each pair is a sketch."""

Nest: TypeAlias = Sequence[tuple[str, Int, LoopKind]]
"""Loops outer first: variable, extent, kind."""


def gemm_loops(knobs: Mapping[str, Int], size: tuple[int, int, int], staging: tuple[int, int]) -> LoopProgram:
    """The kernel for ``c[n, m] = sum over k of a[k, m] * b[k, n]``, row-major.

    Args:
        knobs: the other parameters, as ints, or as symbols for all configurations at once.
        size: M, N and K, multiples of MWG, NWG and KWG.
        staging: SA and SB.

    Configurations that ``check_configurations`` refuses give programs that compute something else.
    """
    rows = _Side("a", "m", *(knobs[name] for name in ("MWG", "MDIMC", "MDIMA", "VWM", "STRM")))
    columns = _Side("b", "n", *(knobs[name] for name in ("NWG", "NDIMC", "NDIMB", "VWN", "STRN")))
    m, n, k = size
    staged = [side for side, is_staged in zip((rows, columns), staging, strict=True) if is_staged]
    threads = (columns.threads, rows.threads)
    buffers = (
        Buffer("a", (k, m), Scope.INPUT),
        Buffer("b", (k, n), Scope.INPUT),
        Buffer("c", (n, m), Scope.OUTPUT),
        *(Buffer(f"{side.operand}_tile", (knobs["KWG"], side.tile), Scope.LOCAL) for side in staged),
        Buffer("a_private", (rows.work, *threads), Scope.REGISTER),
        Buffer("b_private", (columns.work, *threads), Scope.REGISTER),
        Buffer("acc", (columns.work, rows.work, *threads), Scope.REGISTER),
    )
    body: tuple[Node, ...] = (
        _zeroed(rows, columns),
        Loop("k_group", k // knobs["KWG"], _summed(knobs, rows, columns, staged), is_reduction=True),
        _stored(rows, columns),
    )
    for side, length in ((rows, m), (columns, n)):
        body = (Loop(f"{side.axis}_group", length // side.tile, body, LoopKind.PARALLEL),)
    return LoopProgram("clblast_gemm", buffers, body)


def check_configurations(values: Mapping[str, NDArray[np.int64]], size: tuple[int, int, int]) -> None:
    """Refuse what the kernel is not made for; ``values`` has (N,) numbers for each of ``PARAMETERS``.

    The rules are those of CLBlast's tuner (src/tuning/kernels/xgemm.hpp).

    Raises:
        ValueError: a rule is broken; it is named with the first configuration that breaks it.
    """
    unknown = [name for name in ("STRM", "STRN", "SA", "SB") if not np.isin(values[name], (0, 1)).all()]
    if unknown:
        raise ValueError(f"{unknown[0]} must be 0 or 1, got {sorted(set(values[unknown[0]].tolist()))}")
    for name in PARAMETERS[:10]:
        if (values[name] < 1).any():
            raise ValueError(f"{name} must be at least 1, got {int(values[name].min())}")
    for rule, whole, part in _rules(values, size):
        broken = np.flatnonzero(whole % part)
        if len(broken):
            named = ", ".join(f"{name}={int(values[name][broken[0]])}" for name in PARAMETERS)
            raise ValueError(f"{rule}, which does not hold for {named}")


def _rules(
    values: Mapping[str, NDArray[np.int64]], size: tuple[int, int, int]
) -> list[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """What has to be a multiple of what: in words, the first, the second."""
    threads = values["MDIMC"] * values["NDIMC"]
    rules = []
    for axis, length in zip("MNK", size, strict=True):
        tile = values[f"{axis}WG"]
        rules.append((f"{axis}={length} must be a multiple of {axis}WG", np.full_like(tile, length), tile))
    rules.append(("KWG must be a multiple of KWI", values["KWG"], values["KWI"]))
    for axis, copying in (("M", "MDIMA"), ("N", "NDIMB")):
        tile, copies = values[f"{axis}WG"], values[copying]
        for name in (f"{axis}DIMC", copying):
            width = f"VW{axis}"
            words = f"{axis}WG must be a multiple of {name} * {width}"
            rules.append((words, tile, values[name] * values[width]))
        rules.append((f"MDIMC * NDIMC must be a multiple of {copying}", threads, copies))
        words = f"KWG must be a multiple of MDIMC * NDIMC / {copying}"
        rules.append((words, values["KWG"] * copies, threads))
    return rules


@dataclass(frozen=True)
class _Side:
    """An operand and the axis of the result that it has: A and m, B and n.

    Of ``tile`` elements along the axis each of ``threads`` computes its share, loaded in vectors of
    ``width``; ``copying`` threads stand along the axis when the operand goes to shared memory. ``apart`` is
    1 where neighbouring threads take neighbouring vectors, 0 where a thread takes neighbouring ones.
    """

    operand: str
    axis: str
    tile: Int
    threads: Int
    copying: Int
    width: Int
    apart: Int

    @property
    def work(self) -> Int:
        """Elements of a thread along the axis."""
        work: Int = self.tile // self.threads
        return work

    @property
    def group(self) -> Affine:
        """The first element of the work group's tile."""
        return variable(f"{self.axis}_group") * self.tile

    def vectors(self, threads: Int, suffix: str) -> Nest:
        """Loops over what one of ``threads`` has of the tile."""
        return (
            (f"{self.axis}_vector{suffix}", self.tile // threads // self.width, LoopKind.UNROLLED),
            (f"{self.axis}_element{suffix}", self.width, LoopKind.VECTORIZED),
        )

    def of_thread(self, suffix: str) -> Affine:
        """The number of an element among those of its thread, in the loops of ``vectors``."""
        return variable(f"{self.axis}_vector{suffix}") * self.width + variable(f"{self.axis}_element{suffix}")

    def of_tile(self, threads: Int, suffix: str) -> Affine:
        """Its number in the tile."""
        work: Int = self.tile // threads
        own: Int = work + self.apart * (self.width - work)
        step: Int = self.width + self.apart * (threads * self.width - self.width)
        threads_and_vectors = (
            variable(f"{self.axis}_thread{suffix}") * own + variable(f"{self.axis}_vector{suffix}") * step
        )
        return threads_and_vectors + variable(f"{self.axis}_element{suffix}")


def _threads(rows: _Side, columns: _Side, suffix: str) -> Nest:
    return tuple(
        (f"{side.axis}_thread{suffix}", side.threads, LoopKind.VECTORIZED) for side in (columns, rows)
    )


def _zeroed(rows: _Side, columns: _Side) -> Node:
    loops = [(f"{side.axis}_zero", side.work, LoopKind.UNROLLED) for side in (columns, rows)]
    loops += _threads(rows, columns, "_zero")
    return _nested(loops, Store("acc", _variables(loops), Constant(0.0)))


def _summed(
    knobs: Mapping[str, Int], rows: _Side, columns: _Side, staged: Sequence[_Side]
) -> tuple[Node, ...]:
    """One tile of A and B: copied where that is wanted, then multiplied KWI terms at a time."""
    depth, step = knobs["KWG"], knobs["KWI"]
    within = variable("k_item") * step + variable("k_step")
    terms: list[Node] = []
    for side in (rows, columns):
        suffix = f"_{side.operand}"
        element = side.of_tile(side.threads, suffix)
        if side in staged:
            value = Load(f"{side.operand}_tile", (within, element))
        else:
            value = Load(side.operand, (variable("k_group") * depth + within, side.group + element))
        loops = (*side.vectors(side.threads, suffix), *_threads(rows, columns, suffix))
        index = (side.of_thread(suffix), *_variables(loops[2:]))
        terms.append(_nested(loops, Store(f"{side.operand}_private", index, value)))
    terms.append(_multiplied(rows, columns))
    unrolled = Loop("k_step", step, tuple(terms), LoopKind.UNROLLED, is_reduction=True)
    copies = (_copied(side, rows.threads * columns.threads // side.copying, depth) for side in staged)
    return (*copies, Loop("k_item", depth // step, (unrolled,), is_reduction=True))


def _copied(side: _Side, copying_along_k: Int, depth: Int) -> Node:
    """All threads bring a tile to shared memory: ``copying`` of them along the axis, the rest along K."""
    suffix = f"_{side.operand}_tile"
    rows_each = depth // copying_along_k
    loops = (
        (f"k_row{suffix}", rows_each, LoopKind.UNROLLED),
        *side.vectors(side.copying, suffix),
        (f"k_thread{suffix}", copying_along_k, LoopKind.VECTORIZED),
        (f"{side.axis}_thread{suffix}", side.copying, LoopKind.VECTORIZED),
    )
    row = variable(f"k_thread{suffix}") * rows_each + variable(f"k_row{suffix}")
    element = side.of_tile(side.copying, suffix)
    value = Load(side.operand, (variable("k_group") * depth + row, side.group + element))
    return _nested(loops, Store(f"{side.operand}_tile", (row, element), value))


def _multiplied(rows: _Side, columns: _Side) -> Node:
    loops = [(f"{side.axis}_work", side.work, LoopKind.UNROLLED) for side in (columns, rows)]
    loops += _threads(rows, columns, "")
    column, row, *threads = _variables(loops)
    value = Binary("mul", Load("a_private", (row, *threads)), Load("b_private", (column, *threads)))
    return _nested(loops, Store("acc", (column, row, *threads), value, "sum"))


def _stored(rows: _Side, columns: _Side) -> Node:
    suffix = "_out"
    loops = (
        *columns.vectors(columns.threads, suffix)[:1],
        (f"n_element{suffix}", columns.width, LoopKind.UNROLLED),  # neighbours of N are far apart in C
        *rows.vectors(rows.threads, suffix),
        *_threads(rows, columns, suffix),
    )
    own = tuple(side.of_thread(suffix) for side in (columns, rows))
    place = tuple(side.group + side.of_tile(side.threads, suffix) for side in (columns, rows))
    return _nested(loops, Store("c", place, Load("acc", (*own, *_variables(loops[4:])))))


def _nested(loops: Nest, store: Store) -> Node:
    node: Node = store
    for name, extent, kind in reversed(loops):
        node = Loop(name, extent, (node,), kind)
    return node


def _variables(loops: Nest) -> tuple[Affine, ...]:
    return tuple(variable(name) for name, _, _ in loops)
