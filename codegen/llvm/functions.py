"""Vector approximations of elementary functions as straight-line IR: no call leaves the kernel.

Each works on a scalar or a vector, passes NaN through, and is tested against float64 references.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from codegen.llvm.writer import Writer, float_literal, float_type, type_suffix

AVX512_LANES = 16
"""Only targets with AVX-512 have vectors of so many floats."""

LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693145751953125  # 15 bits, so that n * LN2_HIGH is exact
LN2_LOW = 1.42860682030941723212e-6

EXP_COEFFICIENTS = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
"""Of (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, highest first (Cephes expf)."""

POWER_COEFFICIENTS = (
    1.877576675e-03,
    8.989340090e-03,
    5.582631805e-02,
    2.401536170e-01,
    6.931530732e-01,
    9.999999251e-01,
)
"""Of 2^f on 0 <= f < 1, highest first: least greatest relative error (7.5e-8), by Remez' exchange."""

TANH_LIMIT = 7.90531110763549805
TANH_ODD = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
TANH_EVEN = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
"""tanh(x) = x * odd(x^2) / even(x^2) up to the limit, where tanh is 1 in float32 (Eigen's ptanh)."""

ERF_LIMIT = 4.0
ERF_ODD = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
ERF_EVEN = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
"""erf(x) = x * odd(x^2) / even(x^2) for |x| <= 4, where erf is 1 in float32 (Eigen's perf)."""


def emit_exp(writer: Writer, x: str, width: int) -> str:
    """exp(x): 2^n exp(r) with n = round(x / ln 2); a NaN comes through every step."""
    kind = float_type(width)
    # exp(89) overflows and exp(-104) is below half the least denormal: clamping keeps n small.
    clamped = _clamp(writer, x, -104.0, 89.0, width)
    scaled = writer.value(f"fmul {kind} {clamped}, {float_literal(LOG2_E, width)}")
    rounded = call(writer, "rint", width, scaled)
    high = fma(writer, rounded, float_literal(-LN2_HIGH, width), clamped, width)
    rest = fma(writer, rounded, float_literal(-LN2_LOW, width), high, width)
    fraction = _polynomial(writer, rest, (*EXP_COEFFICIENTS, 1.0, 1.0), width)
    if width == AVX512_LANES:
        return _scaled_by_power(writer, fraction, rounded)
    return _scaled_in_two_steps(writer, fraction, rounded, width)


def _scaled_by_power(writer: Writer, fraction: str, exponent: str) -> str:
    """AVX-512's ``fraction * 2^exponent``, overflow and denormals included, as one instruction."""
    kind, nearest = float_type(AVX512_LANES), "i32 4"
    name = "llvm.x86.avx512.mask.scalef.ps.512"
    writer.declarations.add(f"{kind} @{name}({kind}, {kind}, {kind}, i16, i32 immarg)")
    operands = f"{kind} {fraction}, {kind} {exponent}, {kind} zeroinitializer, i16 -1, {nearest}"
    return writer.value(f"call {kind} @{name}({operands})")


def _scaled_once(writer: Writer, fraction: str, rounded: str, width: int) -> str:
    """``fraction * 2^rounded`` for -127, where the power is 0, to 128, where it is infinite."""
    kind, integers = float_type(width), "i32" if width == 1 else f"<{width} x i32>"
    number = writer.value(f"fptosi {kind} {rounded} to {integers}")
    return _times_power(writer, fraction, writer.value(f"freeze {integers} {number}"), width)


def _times_power(writer: Writer, value: str, exponent: str, width: int) -> str:
    """A product with a power of two that is built of bits."""
    kind, integers = float_type(width), "i32" if width == 1 else f"<{width} x i32>"
    biased = writer.value(f"add {integers} {exponent}, {_integer(127, width)}")
    bits = writer.value(f"shl {integers} {biased}, {_integer(23, width)}")
    power = writer.value(f"bitcast {integers} {bits} to {kind}")
    return writer.value(f"fmul {kind} {value}, {power}")


def _scaled_in_two_steps(writer: Writer, fraction: str, rounded: str, width: int) -> str:
    """The same by two powers of two built of bits, so that overflow and denormals come out right."""
    kind, integers = float_type(width), "i32" if width == 1 else f"<{width} x i32>"
    # A NaN has no integer; freeze makes the power of two harmless that multiplies the NaN.
    number = writer.value(f"fptosi {kind} {rounded} to {integers}")
    number = writer.value(f"freeze {integers} {number}")
    half = writer.value(f"ashr {integers} {number}, {_integer(1, width)}")
    other = writer.value(f"sub {integers} {number}, {half}")
    result = fraction
    for exponent in (half, other):
        result = _times_power(writer, result, exponent, width)
    return result


def emit_exp_of_rounded(writer: Writer, x: str, width: int) -> str:
    """exp(x) for an x that was rounded, as differences are: that error, up to x / 2^24, is made again."""
    return emit_power_of_two(
        writer, writer.value(f"fmul {float_type(width)} {x}, {float_literal(LOG2_E, width)}"), width
    )


def emit_power_of_two(writer: Writer, t: str, width: int) -> str:
    """2^t with a relative error below 2e-7; 0 may stand for what is below 2^-126.

    The exponent is taken as it is: where it was rounded, the result is off by as much as that makes.
    """
    kind = float_type(width)
    if width == AVX512_LANES:
        nearest, floor = "i32 4", "i32 9"
        name = "llvm.x86.avx512.mask.reduce.ps.512"
        writer.declarations.add(f"{kind} @{name}({kind}, i32 immarg, {kind}, i16, i32 immarg)")
        fraction = writer.value(
            f"call {kind} @{name}({kind} {t}, {floor}, {kind} zeroinitializer, i16 -1, {nearest})"
        )
        return _scaled_by_power(writer, _polynomial(writer, fraction, POWER_COEFFICIENTS, width), t)
    # As the bits of an exponent, -127 makes zero and 128 infinity.
    clamped = _clamp(writer, t, -127.0, 128.0, width)
    whole = call(writer, "floor", width, clamped)
    fraction = writer.value(f"fsub {kind} {clamped}, {whole}")
    return _scaled_once(writer, _polynomial(writer, fraction, POWER_COEFFICIENTS, width), whole, width)


def emit_tanh(writer: Writer, x: str, width: int) -> str:
    """tanh(x), absolute error below 1e-6."""
    return _rational(writer, _clamp(writer, x, -TANH_LIMIT, TANH_LIMIT, width), TANH_ODD, TANH_EVEN, width)


def emit_erf(writer: Writer, x: str, width: int) -> str:
    """erf(x), absolute error below 1e-6."""
    return _rational(writer, _clamp(writer, x, -ERF_LIMIT, ERF_LIMIT, width), ERF_ODD, ERF_EVEN, width)


def fma(writer: Writer, left: str, right: str, addend: str, width: int) -> str:
    """The sum ``left * right + addend``, rounded once."""
    kind, name, declaration = _fma(width)
    writer.declarations.add(declaration)
    return writer.value(f"call {kind} {name}({kind} {left}, {kind} {right}, {kind} {addend})")


@cache
def _fma(width: int) -> tuple[str, str, str]:
    """Type, name and declaration of the intrinsic."""
    kind, name = float_type(width), f"@llvm.fma.{type_suffix(width)}"
    return kind, name, f"{kind} {name}({kind}, {kind}, {kind})"


def call(writer: Writer, name: str, width: int, *operands: str, flags: str = "") -> str:
    """An LLVM intrinsic from floats to a float, lane by lane."""
    kind, suffix = float_type(width), type_suffix(width)
    parameters = ", ".join([kind] * len(operands))
    writer.declarations.add(f"{kind} @llvm.{name}.{suffix}({parameters})")
    arguments = ", ".join(f"{kind} {operand}" for operand in operands)
    return writer.value(f"call {flags}{kind} @llvm.{name}.{suffix}({arguments})")


def select(writer: Writer, condition: str, then: str, otherwise: str, width: int) -> str:
    """A choice lane by lane."""
    kind, bits = float_type(width), "i1" if width == 1 else f"<{width} x i1>"
    return writer.value(f"select {bits} {condition}, {kind} {then}, {kind} {otherwise}")


def at_least(writer: Writer, bound: str, x: str, width: int) -> str:
    """max(bound, x) with a constant bound, as one instruction of x86; NaN in x comes through."""
    condition = writer.value(f"fcmp ogt {float_type(width)} {bound}, {x}")
    return select(writer, condition, bound, x, width)


def at_most(writer: Writer, bound: str, x: str, width: int) -> str:
    """min(bound, x) with a constant bound; NaN in x comes through."""
    condition = writer.value(f"fcmp olt {float_type(width)} {bound}, {x}")
    return select(writer, condition, bound, x, width)


def _clamp(writer: Writer, x: str, low: float, high: float, width: int) -> str:
    capped = at_most(writer, float_literal(high, width), x, width)
    return at_least(writer, float_literal(low, width), capped, width)


def _polynomial(writer: Writer, x: str, coefficients: Sequence[float], width: int) -> str:
    result = float_literal(coefficients[0], width)
    for coefficient in coefficients[1:]:
        result = fma(writer, result, x, float_literal(coefficient, width), width)
    return result


def _rational(writer: Writer, x: str, odd: Sequence[float], even: Sequence[float], width: int) -> str:
    kind = float_type(width)
    square = writer.value(f"fmul {kind} {x}, {x}")
    numerator = writer.value(f"fmul {kind} {x}, {_polynomial(writer, square, odd, width)}")
    return writer.value(f"fdiv {kind} {numerator}, {_polynomial(writer, square, even, width)}")


def _integer(value: int, width: int) -> str:
    return str(value) if width == 1 else f"splat (i32 {value})"
