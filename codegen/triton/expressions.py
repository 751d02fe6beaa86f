"""Scalar expressions as Triton arithmetic on tensors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from codegen.ir.affine import Affine
from codegen.ir.expression import Binary, Constant, Expr, InRange, Load, Select, Unary, children
from codegen.ir.loops import Buffer, Scope, row_major_strides
from codegen.precision import Precision
from codegen.schedule.errors import require
from codegen.triton.layout import Dim, Layout, plain_load
from codegen.triton.names import Names
from codegen.triton.normal_form import is_wide
from codegen.triton.positions import Positions, expanded
from codegen.triton.writing import call

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_FUNCTIONS = {"exp": "tl.exp", "sqrt": "tl.sqrt", "erf": "tl.erf", "abs": "tl.abs"}
NAN = "propagate_nan=tl.PropagateNan.ALL"
"""What makes a greatest or least element of NaN and a number be NaN."""

_LONG = 80
"""Characters beyond which a part of an expression gets a line of its own."""


@dataclass(frozen=True)
class Mask:
    """All conditions hold, or (``holds`` false) not all of them."""

    conditions: tuple[InRange, ...]
    holds: bool = True

    @property
    def variables(self) -> set[str]:
        """The loops that it depends on."""
        return {name for condition in self.conditions for name in condition.index.variables}


@dataclass(frozen=True)
class Kernel:
    """What the statements of one kernel share."""

    buffers: dict[str, Buffer]
    layout: Layout
    positions: Positions
    names: Names
    precision: Precision
    tensors: dict[str, str]

    def is_tensor(self, buffer: str) -> bool:
        """Whether a buffer is a tensor of the kernel, not memory."""
        return self.buffers[buffer].scope is Scope.REGISTER

    def pointer(self, buffer: str) -> str:
        """The parameter that points to a buffer in memory."""
        return f"{buffer}_ptr"

    def is_narrow(self, buffer: str) -> bool:
        """Whether a buffer holds elements of 16 bits."""
        return not is_wide(self.buffers[buffer]) and self.precision.storage != "float32"


@dataclass
class Evaluation:
    """Turns the value of one statement into text; ``lines`` are statements that come before it.

    Values have the dimensions ``dims`` or broadcast to them. ``masks`` are the conditions around the
    statement; where they fail, a value is arbitrary, but ``fill`` where a load is all there is.
    """

    kernel: Kernel
    dims: Sequence[Dim]
    masks: Sequence[Mask]
    fill: float = 0.0
    widens: bool = True
    lines: list[str] = field(default_factory=list)
    _known: dict[tuple[Expr, tuple[Mask, ...]], str] = field(default_factory=dict)
    _counts: Counter[Expr] = field(default_factory=Counter)

    def value(self, expr: Expr) -> str:
        """The text of an expression."""
        self._counts = _occurrences(expr)
        return self._text(expr, ())

    def mask(self, masks: Sequence[Mask]) -> str:
        """Several masks as one tensor of booleans; '' if there is none."""
        checks: list[str] = []
        for mask in masks:
            tests = [self.kernel.positions.condition(condition, self.dims) for condition in mask.conditions]
            flat = [check for test in tests for check in test]
            checks += flat if mask.holds else [f"~({' & '.join(flat)})"]
        distinct = list(dict.fromkeys(checks))
        if len(distinct) == 1 and distinct[0].endswith(")"):
            return distinct[0].removeprefix("(").removesuffix(")")
        return " & ".join(distinct)

    def address(self, buffer: str, index: Sequence[Affine]) -> str:
        """A pointer, or a tensor of pointers, to elements of a buffer in memory."""
        offset = Affine()
        strides = row_major_strides(self.kernel.buffers[buffer].shape)
        for affine, stride in zip(index, strides, strict=True):
            offset = offset + affine * stride
        text = self.kernel.positions.affine(offset, self.dims, scalars_first=True)
        return f"{self.kernel.pointer(buffer)} + {text}".replace("+ -", "- ")

    def load(self, load: Load, select: Select | None, extra: tuple[Mask, ...]) -> str:
        """The name of a tensor with loaded elements; ``select`` has the value outside its conditions."""
        key = (select or load, extra)
        if key not in self._known:
            variables = {name for index in load.index for name in index.variables}
            masks = [mask for mask in self.masks if mask.variables & variables]
            own = (Mask(select.conditions),) if select is not None else ()
            fill = self.fill
            if select is not None:
                assert isinstance(select.otherwise, Constant)
                fill = select.otherwise.value
            arguments = [self.address(load.buffer, load.index)]
            mask = self.mask([*masks, *extra, *own])
            if mask:
                arguments += [f"mask={mask}", f"other={number(fill)}"]
            text = call("tl.load", arguments)
            if self.widens and self.kernel.is_narrow(load.buffer):
                text += ".to(tl.float32)"
            self._known[key] = self._named(load.buffer, text)
        return self._known[key]

    def _named(self, wanted: str, text: str) -> str:
        name = self.kernel.names.new(wanted)
        self.lines.append(f"{name} = {text}")
        return name

    def _text(self, expr: Expr, extra: tuple[Mask, ...]) -> str:
        if isinstance(expr, Constant):
            return number(expr.value)
        loaded = plain_load(expr)
        if loaded is not None:
            load, select = loaded
            if not self.kernel.is_tensor(load.buffer):
                return self.load(load, select, extra)
            if select is None:
                return self._tensor(load)
        key = (expr, extra)
        if key in self._known:
            return self._known[key]
        text = self._operation(expr, extra)
        if self._counts[expr] > 1 or len(text) > _LONG:
            text = self._known[key] = self._named("value", text)
        return text

    def _operation(self, expr: Expr, extra: tuple[Mask, ...]) -> str:
        if isinstance(expr, Select):
            return self._select(expr, extra)
        if isinstance(expr, Unary):
            operand = self._text(expr.operand, extra)
            return _unary(expr, operand)
        assert isinstance(expr, Binary)
        left, right = self._text(expr.left, extra), self._text(expr.right, extra)
        if expr.op in _INFIX:
            return f"{_wrapped(left)} {_INFIX[expr.op]} {_wrapped(right)}"
        return f"tl.{expr.op}imum({left}, {right}, {NAN})"

    def _select(self, expr: Select, extra: tuple[Mask, ...]) -> str:
        mask = Mask(expr.conditions)
        then = self._text(expr.then, (*extra, mask))
        otherwise = self._text(expr.otherwise, (*extra, Mask(expr.conditions, holds=False)))
        return f"tl.where({self.mask([mask])}, {then}, {otherwise})"

    def _tensor(self, load: Load) -> str:
        """A tensor of the kernel, broadcast to the dimensions of the statement."""
        name = self.kernel.tensors[load.buffer]
        mine = self.kernel.layout.of_tensor(load.buffer, load)
        places = [list(self.dims).index(dim) for dim in mine]
        require(places == sorted(places), f"{load.buffer!r} is read with its dimensions in another order")
        if len(places) in (0, len(self.dims)):
            return name
        if len(places) == 1:
            return expanded(name, places[0], len(self.dims), is_sum=False)
        axes = ", ".join(":" if axis in places else "None" for axis in range(len(self.dims)))
        return f"{name}[{axes}]"


def number(value: float) -> str:
    """A float literal."""
    return f'float("{value}")' if math.isinf(value) or math.isnan(value) else repr(float(value))


def _unary(expr: Unary, operand: str) -> str:
    if expr.op in _FUNCTIONS:
        return f"{_FUNCTIONS[expr.op]}({operand})"
    if expr.op == "neg":
        return f"-{_wrapped(operand)}"
    if expr.op == "reciprocal":
        return f"1.0 / {_wrapped(operand)}"
    # Triton has no tanh of its own; this form is right for infinite exponentials too.
    return f"1.0 - 2.0 / (tl.exp(2.0 * {_wrapped(operand)}) + 1.0)"


def _wrapped(text: str) -> str:
    """An operand, in parentheses unless it is a name, a number or a call."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and letter == " ":
            return f"({text})"
        if depth == 0 and letter == "-" and position == 0:
            return f"({text})"
    return text


def _occurrences(expr: Expr) -> Counter[Expr]:
    """How often each part occurs, the inside of a part counted once."""
    counts: Counter[Expr] = Counter()
    pending = [expr]
    while pending:
        part = pending.pop()
        counts[part] += 1
        if counts[part] == 1:
            pending.extend(children(part))
    return counts
