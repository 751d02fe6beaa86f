"""LLVM IR of smooth functions on vectors of float32.

In the text, ``VEC`` stands for the vector type and ``LANES`` for its length; every line defines one value.
"""

from __future__ import annotations

import struct

_EXP_TERMS = (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0)
"""Taylor series about 0: for |x| <= ln(2) / 2 its error is 2e-7, about what float32 has."""

_LIMIT = 80.0
"""Beyond this, e**x is 0 or out of reach for every gate."""

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4


def sigmoid(value: str, name: str, lanes: int) -> list[str]:
    """``%name = 1 / (1 + exp(-value))``."""
    lines = [f"%{name}_neg = fneg VEC {value}", *_exponential(f"%{name}_neg", f"{name}_e", lanes)]
    lines += [f"%{name}_sum = fadd VEC %{name}_e, {splat(1.0, lanes)}"]
    return [*lines, f"%{name} = fdiv VEC {splat(1.0, lanes)}, %{name}_sum"]


def tanh(value: str, name: str, lanes: int) -> list[str]:
    """``%name = 2 sigmoid(2 value) - 1``."""
    lines = [f"%{name}_twice = fadd VEC {value}, {value}", *sigmoid(f"%{name}_twice", f"{name}_s", lanes)]
    two, minus = splat(2.0, lanes), splat(-1.0, lanes)
    call = f"%{name} = call VEC @llvm.fmuladd.vLANESf32(VEC %{name}_s, VEC {two}, VEC {minus})"
    return [*lines, call]


def splat(value: float, lanes: int) -> str:
    """A constant vector of float32."""
    rounded = struct.unpack("f", struct.pack("f", value))[0]
    text = "0x" + struct.pack(">d", rounded).hex().upper()
    return "<" + ", ".join([f"float {text}"] * lanes) + ">"


def _exponential(value: str, name: str, lanes: int) -> list[str]:
    """``%name = exp(value)``: a power of two from the rounded quotient by ln 2, a series for the rest."""
    magic = 12582912.0  # 1.5 * 2**23: adding it rounds to an integer, which then stands in the low bits
    lines = [
        f"%{name}_low = call VEC @llvm.maxnum.vLANESf32(VEC {value}, VEC {splat(-_LIMIT, lanes)})",
        f"%{name}_x = call VEC @llvm.minnum.vLANESf32(VEC %{name}_low, VEC {splat(_LIMIT, lanes)})",
        f"%{name}_k = call VEC @llvm.fmuladd.vLANESf32(VEC %{name}_x, VEC {splat(1.442695041, lanes)}, "
        f"VEC {splat(magic, lanes)})",
        f"%{name}_n = fsub VEC %{name}_k, {splat(magic, lanes)}",
        f"%{name}_r1 = call VEC @llvm.fmuladd.vLANESf32(VEC %{name}_n, VEC {splat(-_LN2_HIGH, lanes)}, "
        f"VEC %{name}_x)",
        f"%{name}_r = call VEC @llvm.fmuladd.vLANESf32(VEC %{name}_n, VEC {splat(-_LN2_LOW, lanes)}, "
        f"VEC %{name}_r1)",
    ]
    series = splat(_EXP_TERMS[0], lanes)
    for number, term in enumerate(_EXP_TERMS[1:]):
        result = f"%{name}_p{number}"
        lines.append(
            f"{result} = call VEC @llvm.fmuladd.vLANESf32(VEC {series}, VEC %{name}_r, "
            f"VEC {splat(term, lanes)})"
        )
        series = result
    shift = "<" + ", ".join(["i32 23"] * lanes) + ">"
    return [
        *lines,
        f"%{name}_bits = bitcast VEC %{name}_k to <LANES x i32>",
        f"%{name}_power = shl <LANES x i32> %{name}_bits, {shift}",
        f"%{name}_series = bitcast VEC {series} to <LANES x i32>",
        f"%{name}_scaled = add <LANES x i32> %{name}_series, %{name}_power",
        f"%{name} = bitcast <LANES x i32> %{name}_scaled to VEC",
    ]
