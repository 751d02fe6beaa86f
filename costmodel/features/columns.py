"""The features by name: what each column counts, in which unit, and how it is scaled.

The columns of loops follow the context features of AutoTVM (arXiv:1805.08166, section A.4: loop length,
annotation, top-down and bottom-up products; touched bytes, reuse and stride of each buffer). Ours adds
how footprints compare with the caches, the waste of ragged tiles, and the instruction mix of unrolled
and vectorized statements. Everything is known without running the program.

Raw values are whole numbers or quotients of them; the scaling makes them logarithms, so that a network
adds what hardware multiplies.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FEATURES_VERSION = 3
"""Raised with every change of a column's meaning, so that no checkpoint is used with other features."""

NUM_SLOTS = 3
"""Buffers described per node, see ``costmodel.features.accesses.buffer_slots``: the result and two operands.

With a fourth, a network takes a bias for a property of convolutions and misjudges those that have none: in
the shipped set all of these are held out."""


class Scale(Enum):
    """How a raw value x becomes a feature."""

    RAW = "x"
    LOG = "log2(x), x > 0"
    LOG_PLUS_ONE = "log2(1 + x)"
    EXCESS = "log2(max(x, 1)): zero up to 1"


@dataclass(frozen=True)
class Column:
    """One feature; a node without a raw value of that name has the feature 0."""

    name: str
    unit: str
    scale: Scale = Scale.LOG


def _slot(number: int) -> tuple[Column, ...]:
    return (
        Column(f"buffer{number}_touched", "bytes reached by one run of the node"),
        Column(f"buffer{number}_reuse", "accesses per element reached"),
        Column(
            f"buffer{number}_stride", "elements between iterations (loop) or lanes (leaf)", Scale.LOG_PLUS_ONE
        ),
        Column(f"buffer{number}_run", "neighbouring elements reached in the last dimension"),
        Column(f"buffer{number}_is_argument", "claim: passed by the caller", Scale.RAW),
        Column(f"buffer{number}_is_packed", "claim: packed ahead of time", Scale.RAW),
        Column(f"buffer{number}_is_workspace", "claim: scratch memory", Scale.RAW),
        Column(f"buffer{number}_is_register", "claim: registers", Scale.RAW),
    )


NODE_COLUMNS: tuple[Column, ...] = (
    Column("is_root", "claim", Scale.RAW),
    Column("is_serial", "claim", Scale.RAW),
    Column("is_parallel", "claim", Scale.RAW),
    Column("is_unrolled", "claim: a laid-out loop around other loops", Scale.RAW),
    Column("is_leaf", "claim: a statement with its unrolled and vectorized loops", Scale.RAW),
    Column("is_reduction", "claim: iterations accumulate", Scale.RAW),
    Column("num_conditions", "conditions around the node", Scale.RAW),
    Column("is_otherwise", "claim: runs where a condition fails", Scale.RAW),
    Column("outer_iterations", "runs of the node (top-down product)"),
    Column("extent", "iterations of the loop, or instances merged into the leaf"),
    Column("unroll", "copies of the body in a row"),
    Column("waste", "nominal / real iterations where tiles are ragged"),
    Column("inner_iterations", "statement instances in one iteration (bottom-up product)"),
    Column("working_set", "bytes of memory reached by one run of the node"),
    Column("over_l1", "working set / L1", Scale.EXCESS),
    Column("over_l2", "working set / L2", Scale.EXCESS),
    Column("over_l3", "working set / L3", Scale.EXCESS),
    Column("moved", "working set x runs, bytes"),
    Column("intensity", "flops per byte of working set", Scale.LOG_PLUS_ONE),
    Column("flops", "flops of one run", Scale.LOG_PLUS_ONE),
    Column("vector_extent", "iterations of the vectorized loop"),
    Column("lane_waste", "lanes used by whole vectors / iterations"),
    Column("num_vectors", "vector instances of the statement in one run"),
    Column("broadcast_loads", "loads of one element per run", Scale.LOG_PLUS_ONE),
    Column("contiguous_loads", "loads of neighbours per run", Scale.LOG_PLUS_ONE),
    Column("strided_loads", "gathers per run", Scale.LOG_PLUS_ONE),
    Column("masked_loads", "loads under a condition per run", Scale.LOG_PLUS_ONE),
    Column("stores", "vector stores to memory per run", Scale.LOG_PLUS_ONE),
    Column("strided_stores", "scattered stores to memory per run", Scale.LOG_PLUS_ONE),
    Column("registers", "vector registers that hold results and operands", Scale.LOG_PLUS_ONE),
    Column("over_registers", "registers / registers of the target", Scale.EXCESS),
    Column("chains", "independent accumulations"),
    Column("loads_per_vector", "loads / vector instances", Scale.LOG_PLUS_ONE),
    Column("is_sum", "claim", Scale.RAW),
    Column("is_max", "claim", Scale.RAW),
    Column("cycles", "half cycles of all runs, by issue and latency"),
    Column("share", "cycles / cycles of all statements"),
    Column("beyond_l1", "bytes moved into L1 by all runs", Scale.LOG_PLUS_ONE),
    Column("beyond_l2", "bytes moved into L2 by all runs", Scale.LOG_PLUS_ONE),
    Column("beyond_l3", "bytes moved from memory by all runs", Scale.LOG_PLUS_ONE),
    *(column for number in range(NUM_SLOTS) for column in _slot(number)),
)

PROGRAM_COLUMNS: tuple[Column, ...] = (
    Column("vector_lanes", "float32 per vector register"),
    Column("vector_registers", "registers of the target"),
    Column("threads", "threads of the target"),
    Column("l1", "bytes"),
    Column("l2", "bytes"),
    Column("l3", "bytes"),
    Column("flops", "flops that the result needs", Scale.LOG_PLUS_ONE),
    Column("padded_flops", "flops with the lanes and iterations that ragged tiles waste", Scale.LOG_PLUS_ONE),
    Column("flop_waste", "padded flops / flops"),
    Column("num_parallel_nests", "nests shared among threads", Scale.RAW),
    Column("parallel_iterations", "iterations shared among threads, most in any nest"),
    Column("imbalance", "busiest thread / average thread"),
    Column("cycles", "half cycles of all statements, by issue and latency"),
    Column("thread_cycles", "half cycles of the busiest thread"),
    Column("argument_bytes", "bytes passed by the caller"),
    Column("packed_bytes", "bytes packed ahead of time", Scale.LOG_PLUS_ONE),
    Column("workspace_bytes", "bytes of scratch memory", Scale.LOG_PLUS_ONE),
    Column("beyond_l1", "bytes moved into L1", Scale.LOG_PLUS_ONE),
    Column("beyond_l2", "bytes moved into L2", Scale.LOG_PLUS_ONE),
    Column("beyond_l3", "bytes moved from memory", Scale.LOG_PLUS_ONE),
)


def column_index(columns: tuple[Column, ...], name: str) -> int:
    """Position of a column; ValueError if there is none of that name."""
    names = [column.name for column in columns]
    if name not in names:
        raise ValueError(f"there is no feature {name!r}, only {names}")
    return names.index(name)
