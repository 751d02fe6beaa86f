"""The text of one LLVM function while it grows, and everything known at the current point in it.

Two rules keep every use dominated by its definition without a look at the control flow:

* values that depend only on loop variables (addresses, guard conditions, lane masks) are written to
  the *head* of the innermost runtime loop they depend on, and live as long as that loop is open;
* other values are cached on a *trail* and forgotten when the block they were made in is left.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TypeAlias

import numpy as np

from codegen.ir.loops import Fetch
from codegen.llvm.linear import Linear
from codegen.llvm.sites import GuardId

Lines: TypeAlias = list["str | Lines"]


@dataclass(slots=True)
class Induction:
    """Pointers that a loop advances instead of computing them from its variable.

    ``before`` are lines in front of the loop; each of ``pointers`` has a name, an initial value and the
    elements it advances by in an iteration.
    """

    variable: str
    start: str
    step: int
    before: Lines = field(default_factory=list)
    pointers: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(slots=True)
class Head:
    """Lines at the start of a loop body (or function), and what they have computed."""

    lines: Lines = field(default_factory=list)
    cache: dict[Hashable, str] = field(default_factory=dict)
    induction: Induction | None = None


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition on the current statements: one for all lanes, or a mask of lanes; the other is empty.

    ``guard`` is None for conditions that no store may ignore. A scalar guard also says what it compares:
    it holds where ``index < bound``.
    """

    guard: GuardId | None
    scalar: str = ""
    mask: str = ""
    index: Linear | None = None
    bound: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """A branch around some lines that may still go on: its end is at ``position`` among the lines.

    ``block`` is the last of those run under ``condition``, ``skipping_block`` the one that jumps over them.
    """

    condition: str
    position: int
    block: str
    skipping_block: str
    end_label: str


RegisterKey: TypeAlias = tuple[str, int, int]
"""Buffer, flat index of the other dimensions, start of the chunk (-1 for a scalar)."""


@dataclass(slots=True)
class Writer:
    """State of emission. ``width`` is the current number of lanes, of which ``count`` are real."""

    pointers: dict[str, str]
    declarations: set[str]
    streamed: frozenset[str] = frozenset()
    lines: Lines = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    width: int = 1
    count: int = 1
    fetches: Fetch | None = None
    predicates: list[Predicate] = field(default_factory=list)
    proven: set[GuardId] = field(default_factory=set)
    doubted: set[GuardId] = field(default_factory=set)
    refuted: set[str] = field(default_factory=set)
    registers: dict[RegisterKey, str] = field(default_factory=dict)
    widths: dict[RegisterKey, int] = field(default_factory=dict)
    cache: dict[Hashable, object] = field(default_factory=dict)
    trail: list[Hashable] = field(default_factory=list)
    loaded: dict[str, list[Hashable]] = field(default_factory=dict)
    closed: list[Closed] = field(default_factory=list)
    block: str = "entry"
    num_names: int = 0

    def fresh(self) -> str:
        """A new SSA name."""
        self.num_names += 1
        return f"%v{self.num_names}"

    def value(self, text: str) -> str:
        """Append an instruction; returns the name of its result."""
        self.num_names += 1
        name = f"%v{self.num_names}"
        self.lines.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + text)

    def new_label(self) -> str:
        """A new name for a block."""
        self.num_names += 1
        return f"b{self.num_names}"

    def begin(self, label: str) -> None:
        """Start a block; the one before must have ended in a branch."""
        self.lines.append(f"{label}:")
        self.block = label

    def head_value(self, head: Head, key: Hashable, text: str) -> str:
        """An instruction at the head of a loop, remembered under ``key``."""
        self.num_names += 1
        name = f"%v{self.num_names}"
        head.lines.append(f"  {name} = {text}")
        head.cache[key] = name
        return name

    def remember(self, key: Hashable, result: object) -> None:
        """Cache a result until the current block scope is left."""
        self.cache[key] = result
        self.trail.append(key)

    def forget_since(self, mark: int) -> None:
        """Drop what was cached after the trail had length ``mark``."""
        trail, cache = self.trail, self.cache
        while len(trail) > mark:
            cache.pop(trail.pop(), None)

    def forget_loads(self, buffer: str) -> None:
        """Drop cached elements of a buffer that is about to change."""
        for key in self.loaded.pop(buffer, ()):
            self.cache.pop(key, None)

    def text(self) -> list[str]:
        """All lines, flat."""
        flat: list[str] = []
        _flatten(self.lines, flat)
        return flat


@cache
def float_type(width: int) -> str:
    """LLVM type of a value of ``width`` floats."""
    return "float" if width == 1 else f"<{width} x float>"


@cache
def type_suffix(width: int) -> str:
    """How intrinsics name that type."""
    return "f32" if width == 1 else f"v{width}f32"


def float_literal(value: float, width: int = 1) -> str:
    """A float32 constant; LLVM writes it as the bits of the equal double."""
    return _float_literal(value, math.copysign(1.0, value), width)


@lru_cache(maxsize=4096)
def _float_literal(value: float, sign: float, width: int) -> str:
    """``sign`` tells zeros apart, which are equal otherwise."""
    bits = struct.unpack("<Q", struct.pack("<d", float(np.float32(value))))[0]
    literal = f"0x{bits:016X}"
    return literal if width == 1 else f"splat (float {literal})"


def mask_literal(lanes: list[bool]) -> str:
    """A constant mask."""
    return "<" + ", ".join("i1 true" if lane else "i1 false" for lane in lanes) + ">"


def is_mask_literal(mask: str) -> bool:
    """Whether a mask is known while text is emitted."""
    return mask.startswith("<i1 ")


def literal_lanes(mask: str) -> list[bool]:
    """The lanes of a constant mask."""
    return [lane.endswith("true") for lane in mask.strip("<>").split(",")]


def zero(width: int) -> str:
    """The constant zero of ``width`` floats."""
    return "0.0" if width == 1 else "zeroinitializer"


def _flatten(lines: Lines, flat: list[str]) -> None:
    for line in lines:
        if isinstance(line, str):
            flat.append(line)
        else:
            _flatten(line, flat)
