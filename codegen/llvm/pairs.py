"""Pairs of bfloat16 in the lanes of a vector of floats, and the sum of their products.

A lane holds the first number in its lower half: that is how x86 reads it (AVX512_BF16), whose instruction
adds both products to a float. It takes denormal numbers for zeros and rounds after each product.
"""

from __future__ import annotations

from codegen.llvm.writer import Writer, float_type

LEAST_WIDTH = 4
"""Floats in the shortest vector that the instruction takes."""


def emit_pair(writer: Writer, first: str, second: str, width: int) -> str:
    """Two floats (or vectors of them), each rounded to the nearest bfloat16, as one of the same type."""
    low, high = (_rounded_bits(writer, value, width) for value in (first, second))
    bits = _integers(32, width)
    half = "16" if width == 1 else "splat (i32 16)"
    shifted = writer.value(f"shl {bits} {high}, {half}")
    both = writer.value(f"or {bits} {shifted}, {low}")
    return writer.value(f"bitcast {bits} {both} to {float_type(width)}")


def add_dot_of_pairs(writer: Writer, left: str, right: str, addend: str, width: int) -> str:
    """The sum ``addend + left[0] * right[0] + left[1] * right[1]``, lane by lane."""
    if width < LEAST_WIDTH:
        wide = [_widened(writer, value) for value in (left, right, addend)]
        result = add_dot_of_pairs(writer, wide[0], wide[1], wide[2], LEAST_WIDTH)
        return writer.value(f"extractelement {float_type(LEAST_WIDTH)} {result}, i64 0")
    kind, pairs = float_type(width), f"<{2 * width} x bfloat>"
    name = f"@llvm.x86.avx512bf16.dpbf16ps.{32 * width}"
    writer.declarations.add(f"{kind} {name}({kind}, {pairs}, {pairs})")
    one, two = (writer.value(f"bitcast {kind} {value} to {pairs}") for value in (left, right))
    return writer.value(f"call {kind} {name}({kind} {addend}, {pairs} {one}, {pairs} {two})")


def _rounded_bits(writer: Writer, value: str, width: int) -> str:
    kind = "bfloat" if width == 1 else f"<{width} x bfloat>"
    short = writer.value(f"fptrunc {float_type(width)} {value} to {kind}")
    bits = writer.value(f"bitcast {kind} {short} to {_integers(16, width)}")
    return writer.value(f"zext {_integers(16, width)} {bits} to {_integers(32, width)}")


def _integers(num_bits: int, width: int) -> str:
    return f"i{num_bits}" if width == 1 else f"<{width} x i{num_bits}>"


def _widened(writer: Writer, value: str) -> str:
    return writer.value(f"insertelement {float_type(LEAST_WIDTH)} zeroinitializer, float {value}, i64 0")
