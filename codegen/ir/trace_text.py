"""LLVM IR of the vector machine that runs tapes."""

from __future__ import annotations

import struct

from codegen.ir.trace import LOG2_TERMS, SQRT_HALF_BITS

BLOCK = 128
"""Candidates per row: a hundred live rows still fit L2."""

LANES = 8
"""Doubles handled together; LLVM cuts them to what the CPU has."""

_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "floordiv": "fdiv"}
_COMPARE = {"min": "olt", "max": "ogt"}

NAMES = (*_BINARY, *_COMPARE)
"""Operations of two operands; three codes each: of two rows, row and constant, constant and row."""

LOG2, INPUT, STORE, STORE_HALF = (3 * len(NAMES) + k for k in range(4))
"""The codes after those: logarithm, copy of an input, output as double or as float."""


def machine_text() -> str:
    """The module; its entry is ``run``."""
    parts = [_DECLARATIONS]
    calls, cases = [], []
    for code, (name, body) in enumerate(_operations()):
        parts.append(_OPERATION.format(name=name, body=body))
        calls.append(_CALL.format(code=code, name=name))
        cases.append(f"i32 {code}, label %call{code}")
    parts.append(_RUN.format(cases="\n      ".join(cases), calls="".join(calls), block=BLOCK, input=INPUT))
    return "\n".join(parts)


def _operations() -> list[tuple[str, str]]:
    """Name and vector body of each instruction, in the order of their codes."""
    result = []
    for name in NAMES:
        floor = "\n  %r = call <8 x double> @llvm.floor.v8f64(<8 x double> %q)"
        for form, (left, right) in {"vv": ("%a", "%b"), "vc": ("%a", "%c"), "cv": ("%c", "%b")}.items():
            if name in _COMPARE:
                body = (
                    f"%q = fcmp {_COMPARE[name]} <8 x double> {left}, {right}\n"
                    f"  %r = select <8 x i1> %q, <8 x double> {left}, <8 x double> {right}"
                )
            elif name == "floordiv":
                body = f"%q = fdiv <8 x double> {left}, {right}{floor}"
            else:
                body = f"%r = {_BINARY[name]} <8 x double> {left}, {right}"
            result.append((f"{name}_{form}", _LOADS + body + _KEEP))
    result.append(("log2", _LOADS + _log2_text() + _KEEP))
    result.append(("input", _FROM_INPUT + _KEEP))
    result.append(("store", _LOADS + _TO_OUTPUT.format(value="%a", type="double")))
    narrow = "%half = fptrunc <8 x double> %a to <8 x float>\n"
    result.append(("store_half", _LOADS + narrow + _TO_OUTPUT.format(value="%half", type="float")))
    return result


def _log2_text() -> str:
    """As ``codegen.ir.trace`` does it; the exponent becomes a double through the bits of 2**52 + 2**51."""
    lines = [
        "%bits = bitcast <8 x double> %a to <8 x i64>",
        f"%less = sub <8 x i64> %bits, {_vector('i64', str(SQRT_HALF_BITS))}",
        f"%exponent = ashr <8 x i64> %less, {_vector('i64', '52')}",
        f"%high = shl <8 x i64> %exponent, {_vector('i64', '52')}",
        "%low = sub <8 x i64> %bits, %high",
        "%m = bitcast <8 x i64> %low to <8 x double>",
        f"%biased = add <8 x i64> %exponent, {_vector('i64', str(0x4338000000000000))}",
        "%magic = bitcast <8 x i64> %biased to <8 x double>",
        f"%e = fsub <8 x double> %magic, {_vector('double', _double(6755399441055744.0))}",
        f"%minus = fsub <8 x double> %m, {_vector('double', _double(1.0))}",
        f"%plus = fadd <8 x double> %m, {_vector('double', _double(1.0))}",
        "%s = fdiv <8 x double> %minus, %plus",
        "%square = fmul <8 x double> %s, %s",
    ]
    series = _vector("double", _double(LOG2_TERMS[-1]))
    for k, term in enumerate(LOG2_TERMS[-2::-1]):
        lines.append(f"%p{k} = fmul <8 x double> {series}, %square")
        lines.append(f"%t{k} = fadd <8 x double> %p{k}, {_vector('double', _double(term))}")
        series = f"%t{k}"
    lines.append(f"%scaled = fmul <8 x double> {series}, %s")
    lines.append("%r = fadd <8 x double> %e, %scaled")
    return "\n  ".join(lines)


def _vector(kind: str, value: str) -> str:
    return "<" + ", ".join([f"{kind} {value}"] * LANES) + ">"


def _double(value: float) -> str:
    return "0x" + struct.pack(">d", value).hex().upper()


_DECLARATIONS = "declare <8 x double> @llvm.floor.v8f64(<8 x double>)"

_LOADS = """%pa = getelementptr double, ptr %left, i64 %i
  %pb = getelementptr double, ptr %right, i64 %i
  %a = load <8 x double>, ptr %pa, align 8
  %b = load <8 x double>, ptr %pb, align 8
  """

_KEEP = """
  %pt = getelementptr double, ptr %target, i64 %i
  store <8 x double> %r, ptr %pt, align 8"""

_FROM_INPUT = """%index = add i64 %at, %i
  %pa = getelementptr double, ptr %memory, i64 %index
  %r = load <8 x double>, ptr %pa, align 8"""

_TO_OUTPUT = """
  %index = add i64 %at, %i
  %po = getelementptr {type}, ptr %memory, i64 %index
  store <8 x {type}> {value}, ptr %po, align 4"""

_OPERATION = """
define internal void @{name}(
    ptr %target, ptr %left, ptr %right, double %constant, ptr %memory, i64 %at, i64 %n) {{
entry:
  %c0 = insertelement <8 x double> poison, double %constant, i64 0
  %c = shufflevector <8 x double> %c0, <8 x double> poison, <8 x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  {body}
  %next = add i64 %i, 8
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""

_CALL = """
call{code}:
  call void @{name}(ptr %t, ptr %a, ptr %b, double %constant, ptr %memory, i64 %at, i64 %n)
  br label %advance"""

_RUN = """
define void @run(i64 %count, i64 %padded, i64 %stride, ptr %code, ptr %rows, ptr %inputs, ptr %outputs) {{
entry:
  %nothing = icmp eq i64 %count, 0
  br i1 %nothing, label %done, label %block
block:
  %base = phi i64 [0, %entry], [%nextbase, %endblock]
  %rest = sub i64 %padded, %base
  %short = icmp slt i64 %rest, {block}
  %n = select i1 %short, i64 %rest, i64 {block}
  br label %step
step:
  %i = phi i64 [0, %block], [%nexti, %advance]
  %p = getelementptr {{i32, i32, i32, i32, double}}, ptr %code, i64 %i
  %pt = getelementptr i32, ptr %p, i64 1
  %pl = getelementptr i32, ptr %p, i64 2
  %pr = getelementptr i32, ptr %p, i64 3
  %pc = getelementptr i32, ptr %p, i64 4
  %kind = load i32, ptr %p
  %t32 = load i32, ptr %pt
  %l32 = load i32, ptr %pl
  %r32 = load i32, ptr %pr
  %constant = load double, ptr %pc, align 8
  %ti = sext i32 %t32 to i64
  %li = sext i32 %l32 to i64
  %ri = sext i32 %r32 to i64
  %to = mul i64 %ti, {block}
  %lo = mul i64 %li, {block}
  %ro = mul i64 %ri, {block}
  %t = getelementptr double, ptr %rows, i64 %to
  %a = getelementptr double, ptr %rows, i64 %lo
  %b = getelementptr double, ptr %rows, i64 %ro
  %isinput = icmp eq i32 %kind, {input}
  %memory = select i1 %isinput, ptr %inputs, ptr %outputs
  %line = select i1 %isinput, i64 %li, i64 %ti
  %pitch = select i1 %isinput, i64 %padded, i64 %stride
  %start = mul i64 %line, %pitch
  %at = add i64 %start, %base
  switch i32 %kind, label %advance [
      {cases}
  ]
{calls}
advance:
  %nexti = add i64 %i, 1
  %more = icmp slt i64 %nexti, %count
  br i1 %more, label %step, label %endblock
endblock:
  %nextbase = add i64 %base, {block}
  %again = icmp slt i64 %nextbase, %padded
  br i1 %again, label %block, label %done
done:
  ret void
}}"""
