"""Expressions: arithmetic on scalars and vectors.

A value stays scalar for as long as all lanes share it and is spread over a vector where it meets one.
Products that are added are fused; nothing else is reordered, so results differ from a plain evaluation
only by the rounding that fusing leaves out (and the order of sums over lanes).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from codegen.ir.expression import Constant, UnaryOp
from codegen.llvm.address import all_of, negated, range_predicate
from codegen.llvm.functions import (
    AVX512_LANES,
    at_least,
    at_most,
    call,
    emit_erf,
    emit_exp,
    emit_exp_of_rounded,
    emit_power_of_two,
    emit_tanh,
    fma,
    select,
)
from codegen.llvm.logistic import Logistic, as_logistic
from codegen.llvm.memory import can_yield_zero, load
from codegen.llvm.pairs import add_dot_of_pairs, emit_pair
from codegen.llvm.plan import (
    MemoryAccess,
    PlannedBinary,
    PlannedExpr,
    PlannedFolded,
    PlannedSelect,
    PlannedUnary,
    RegisterAccess,
)
from codegen.llvm.registers import read_register
from codegen.llvm.tables import with_numbers
from codegen.llvm.writer import Predicate, Writer, float_literal, float_type, zero

Value = tuple[str, bool]
"""SSA name or literal, and whether it is a vector of the current width."""


def evaluate(writer: Writer, expr: PlannedExpr) -> Value:
    """Emit an expression for the current instance or lanes."""
    kind = type(expr)
    if kind is MemoryAccess:
        return load(writer, expr)  # type: ignore[arg-type]
    if kind is RegisterAccess:
        return read_register(writer, expr)  # type: ignore[arg-type]
    if isinstance(expr, Constant):
        return float_literal(expr.value), False
    if isinstance(expr, PlannedBinary | PlannedUnary):
        logistic = as_logistic(expr)
        if logistic is not None:
            return _logistic(writer, logistic)
        return _binary(writer, expr) if isinstance(expr, PlannedBinary) else _unary(writer, expr)
    if isinstance(expr, PlannedFolded):
        return evaluate(writer, with_numbers(expr.expr, writer.offsets))
    assert isinstance(expr, PlannedSelect)
    return _select(writer, expr)


def evaluate_vector(writer: Writer, expr: PlannedExpr) -> str:
    """The value for all current lanes; a scalar where the width is 1."""
    return spread(writer, evaluate(writer, expr))


def add_product(writer: Writer, product: PlannedBinary, addend: str, is_vector: bool) -> str:
    """``addend + left * right`` in one rounding, or with the products of two pairs."""
    left, right = evaluate(writer, product.left), evaluate(writer, product.right)
    add = add_dot_of_pairs if product.op == "dot_pairs" else fma
    if is_vector:
        return add(writer, spread(writer, left), spread(writer, right), addend, writer.width)
    return add(writer, left[0], right[0], addend, 1)


def greater(writer: Writer, left: str, right: str, width: int) -> str:
    """The greater of two; NaN in either comes through, as in NumPy; the sign of zero is not kept.

    x86's maximum gives the right one where either is NaN; only a NaN on the left has to be kept. A maximum
    of AVX-512 does that under a mask, so that two instructions are enough and not three.
    """
    if left == float_literal(-math.inf, width):
        return right
    if width == AVX512_LANES:
        kind, bits = float_type(width), f"<{width} x i1>"
        is_greater = writer.value(f"fcmp ogt {kind} {left}, {right}")
        larger = writer.value(f"select {bits} {is_greater}, {kind} {left}, {kind} {right}")
        is_number = writer.value(f"fcmp ord {kind} {left}, {left}")
        return writer.value(f"select {bits} {is_number}, {kind} {larger}, {kind} {left}")
    return call(writer, "maximum", width, left, right, flags="nsz ")


def spread(writer: Writer, value: Value) -> str:
    """A value as a vector of the current width."""
    text, is_vector = value
    width = writer.width
    if is_vector or width == 1:
        return text
    if not text.startswith("%"):
        return f"splat (float {text})"
    key = ("spread", text, width)
    found = writer.cache.get(key)
    if isinstance(found, str):
        return found
    kind = float_type(width)
    first = writer.value(f"insertelement {kind} poison, float {text}, i64 0")
    result = writer.value(f"shufflevector {kind} {first}, {kind} poison, <{width} x i32> zeroinitializer")
    writer.remember(key, result)
    return result


def _binary(writer: Writer, expr: PlannedBinary) -> Value:
    if expr.op in ("add", "sub"):
        fused = _fused(writer, expr)
        if fused is not None:
            return fused
    left, right = evaluate(writer, expr.left), evaluate(writer, expr.right)
    is_vector = left[1] or right[1]
    width = writer.width if is_vector else 1
    one, two = (spread(writer, left), spread(writer, right)) if is_vector else (left[0], right[0])
    if expr.op in ("max", "min"):
        return _extreme(writer, expr, one, two, width), is_vector
    if expr.op == "pair":
        return emit_pair(writer, one, two, width), is_vector
    if expr.op == "dot_pairs":
        return add_dot_of_pairs(writer, one, two, zero(width), width), is_vector
    return writer.value(f"f{expr.op} contract {float_type(width)} {one}, {two}"), is_vector


def _logistic(writer: Writer, form: Logistic) -> Value:
    """One power of two and one division."""
    exponent, is_vector = evaluate(writer, form.exponent)
    width = writer.width if is_vector else 1
    scaled = writer.value(f"fmul {float_type(width)} {exponent}, {float_literal(form.factor, width)}")
    power = emit_power_of_two(writer, scaled, width)
    divisor = writer.value(f"fadd {float_type(width)} {power}, {float_literal(1.0, width)}"), is_vector
    if form.numerator is None:
        numerator, scale = (float_literal(form.scale), False), 1.0
    else:
        numerator, scale = evaluate(writer, form.numerator), form.scale
    is_vector = numerator[1] or divisor[1]
    width = writer.width if is_vector else 1
    top, bottom = (spread(writer, value) if is_vector else value[0] for value in (numerator, divisor))
    if scale != 1.0:
        top = writer.value(f"fmul {float_type(width)} {top}, {float_literal(scale, width)}")
    return writer.value(f"fdiv {float_type(width)} {top}, {bottom}"), is_vector


def _fused(writer: Writer, expr: PlannedBinary) -> Value | None:
    """An addition or subtraction with a product on one side."""
    for product, other, is_left in ((expr.left, expr.right, True), (expr.right, expr.left, False)):
        if not (isinstance(product, PlannedBinary) and product.op == "mul"):
            continue
        factors = evaluate(writer, product.left), evaluate(writer, product.right)
        addend = evaluate(writer, other)
        is_vector = any(value[1] for value in (*factors, addend))
        width = writer.width if is_vector else 1
        values = [spread(writer, v) if is_vector else v[0] for v in (*factors, addend)]
        if expr.op == "sub":
            position = 2 if is_left else 0
            values[position] = writer.value(f"fneg {float_type(width)} {values[position]}")
        return fma(writer, values[0], values[1], values[2], width), is_vector
    return None


def _extreme(writer: Writer, expr: PlannedBinary, left: str, right: str, width: int) -> str:
    limit = at_least if expr.op == "max" else at_most
    if isinstance(expr.right, Constant):
        return limit(writer, right, left, width)
    if isinstance(expr.left, Constant):
        return limit(writer, left, right, width)
    if expr.op == "max":
        return greater(writer, left, right, width)
    return call(writer, "minimum", width, left, right, flags="nsz ")


def _unary(writer: Writer, expr: PlannedUnary) -> Value:
    value, is_vector = evaluate(writer, expr.operand)
    if expr.op == "exp" and isinstance(expr.operand, PlannedBinary) and expr.operand.op == "sub":
        return emit_exp_of_rounded(writer, value, writer.width if is_vector else 1), is_vector
    return UNARY[expr.op](writer, value, writer.width if is_vector else 1), is_vector


def _select(writer: Writer, expr: PlannedSelect) -> Value:
    parts: list[Predicate] = []
    for condition in expr.conditions:
        part = range_predicate(writer, condition)
        if part is False:
            return evaluate(writer, expr.otherwise)
        if part is not True:
            parts.append(part)
    if not parts:
        return evaluate(writer, expr.then)
    predicate = all_of(writer, parts)
    then = expr.then
    if expr.otherwise == Constant(0.0) and isinstance(then, MemoryAccess) and can_yield_zero(writer, then):
        writer.predicates.append(predicate)
        loaded = load(writer, then, zero_where_false=True)
        writer.predicates.pop()
        return loaded
    chosen = _under(writer, predicate, then)
    otherwise = (
        evaluate(writer, expr.otherwise)
        if isinstance(expr.otherwise, Constant)
        else _under(writer, negated(writer, predicate), expr.otherwise)
    )
    is_vector = chosen[1] or otherwise[1] or bool(predicate.mask)
    if not is_vector:
        return select(writer, predicate.scalar, chosen[0], otherwise[0], 1), False
    one, two = spread(writer, chosen), spread(writer, otherwise)
    if predicate.mask:
        return select(writer, predicate.mask, one, two, writer.width), True
    kind = float_type(writer.width)
    return writer.value(f"select i1 {predicate.scalar}, {kind} {one}, {kind} {two}"), True


def _under(writer: Writer, predicate: Predicate, expr: PlannedExpr) -> Value:
    writer.predicates.append(predicate)
    value = evaluate(writer, expr)
    writer.predicates.pop()
    return value


def _negate(writer: Writer, value: str, width: int) -> str:
    return writer.value(f"fneg {float_type(width)} {value}")


def _reciprocal(writer: Writer, value: str, width: int) -> str:
    return writer.value(f"fdiv {float_type(width)} {float_literal(1.0, width)}, {value}")


def _square_root(writer: Writer, value: str, width: int) -> str:
    return call(writer, "sqrt", width, value)


def _absolute(writer: Writer, value: str, width: int) -> str:
    return call(writer, "fabs", width, value)


UNARY: dict[UnaryOp, Callable[[Writer, str, int], str]] = {
    "exp": emit_exp,
    "neg": _negate,
    "sqrt": _square_root,
    "tanh": emit_tanh,
    "erf": emit_erf,
    "abs": _absolute,
    "reciprocal": _reciprocal,
}
