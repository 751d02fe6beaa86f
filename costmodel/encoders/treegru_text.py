"""LLVM IR of the machine that folds trees, for a given number of vector lanes.

Every row holds one number for each of ``lanes`` candidates; rows of scratch memory follow each other.
"""

from __future__ import annotations

from costmodel.encoders.vector_math_text import sigmoid, splat, tanh

ROWS = 8
"""Rows of a product computed together: enough accumulators to hide the latency of an fma."""


def machine_text(lanes: int) -> str:
    """The module; its entry is ``fold``, whose instructions ``costmodel.encoders.treegru_native`` makes."""
    kind = f"<{lanes} x float>"
    intrinsics = [
        f"declare {kind} @llvm.{name}.v{lanes}f32({', '.join([kind] * count)})"
        for name, count in (("fmuladd", 3), ("minnum", 2), ("maxnum", 2))
    ]
    functions = [
        _product(),
        _gates("leaf_gates", _leaf_step(lanes)),
        _gates("inner_gates", _inner_step(lanes)),
        _FINISH,
        _FOLD,
    ]
    text = "\n".join([*intrinsics, *functions])
    return text.replace("VEC", kind).replace("LANES", str(lanes)).replace("ZERO", splat(0.0, lanes))


def _product() -> str:
    """``out[tile * ROWS + r] = bias + (out) + sum over k of weight * in[k]``, a tile of rows at a time."""
    text = _PRODUCT.replace("ROWS", str(ROWS))
    for part in ("FIRST", "PHI", "SUM", "LAST", "KEEP"):
        template = _PRODUCT_ROWS[part]
        text = text.replace(f"  {part}", "\n".join(template.replace("#", str(r)) for r in range(ROWS)))
    return text


def _gates(name: str, step: str) -> str:
    return _GATES.replace("NAME", name).replace("STEP", step)


def _leaf_step(lanes: int) -> str:
    """A state without children: sigmoid(-update) * tanh(candidate)."""
    lines = ["%flipped = fneg VEC %update", *sigmoid("%flipped", "share", lanes)]
    lines += [*tanh("%candidate", "tanh", lanes), "%state = fmul VEC %share, %tanh"]
    return "\n  ".join(lines)


def _inner_step(lanes: int) -> str:
    """New state: candidate + sigmoid(update) * (sums - candidate), the candidate under the reset gate."""
    lines = [
        "%rp = getelementptr VEC, ptr %gates, i64 %second",
        "%reset = load VEC, ptr %rp, align 4",
        "%up = getelementptr VEC, ptr %recurrent, i64 %i",
        "%u = load VEC, ptr %up, align 4",
        "%sp = getelementptr VEC, ptr %sums, i64 %i",
        "%s = load VEC, ptr %sp, align 4",
        *sigmoid("%reset", "open", lanes),
        "%before = call VEC @llvm.fmuladd.vLANESf32(VEC %open, VEC %u, VEC %candidate)",
        *tanh("%before", "tanh", lanes),
        *sigmoid("%update", "keep", lanes),
        "%change = fsub VEC %s, %tanh",
        "%state = call VEC @llvm.fmuladd.vLANESf32(VEC %keep, VEC %change, VEC %tanh)",
    ]
    return "\n  ".join(lines)


_PRODUCT = """
define internal void @product(ptr %out, ptr %in, i64 %pitch, i64 %tiles, i64 %depth, ptr %weights, i1 %adds) {
entry:
  %empty = icmp eq i64 %depth, 0
  br label %tile
tile:
  %t = phi i64 [0, %entry], [%nextt, %end]
  %w = phi ptr [%weights, %entry], [%wend, %end]
  %w0 = getelementptr float, ptr %w, i64 ROWS
  %row = mul i64 %t, ROWS
  %o = getelementptr VEC, ptr %out, i64 %row
  FIRST
  br i1 %empty, label %end, label %inner
inner:
  %k = phi i64 [0, %tile], [%nextk, %inner]
  %x = phi ptr [%in, %tile], [%nextx, %inner]
  %wk = phi ptr [%w0, %tile], [%nextw, %inner]
  PHI
  %value = load VEC, ptr %x, align 4
  SUM
  %nextk = add i64 %k, 1
  %nextx = getelementptr float, ptr %x, i64 %pitch
  %nextw = getelementptr float, ptr %wk, i64 ROWS
  %again = icmp slt i64 %nextk, %depth
  br i1 %again, label %inner, label %end
end:
  %wend = phi ptr [%w0, %tile], [%nextw, %inner]
  LAST
  KEEP
  %nextt = add i64 %t, 1
  %more = icmp slt i64 %nextt, %tiles
  br i1 %more, label %tile, label %done
done:
  ret void
}"""

_PRODUCT_ROWS = {
    "FIRST": """  %bp# = getelementptr float, ptr %w, i64 #
  %bs# = load float, ptr %bp#, align 4
  %bi# = insertelement VEC poison, float %bs#, i64 0
  %b# = shufflevector VEC %bi#, VEC poison, <LANES x i32> zeroinitializer
  %op# = getelementptr VEC, ptr %o, i64 #
  %old# = load VEC, ptr %op#, align 4
  %kept# = select i1 %adds, VEC %old#, VEC ZERO
  %first# = fadd VEC %b#, %kept#""",
    "PHI": "  %acc# = phi VEC [%first#, %tile], [%sum#, %inner]",
    "SUM": """  %wp# = getelementptr float, ptr %wk, i64 #
  %ws# = load float, ptr %wp#, align 4
  %wi# = insertelement VEC poison, float %ws#, i64 0
  %wv# = shufflevector VEC %wi#, VEC poison, <LANES x i32> zeroinitializer
  %sum# = call VEC @llvm.fmuladd.vLANESf32(VEC %wv#, VEC %value, VEC %acc#)""",
    "LAST": "  %out# = phi VEC [%first#, %tile], [%sum#, %inner]",
    "KEEP": "  store VEC %out#, ptr %op#, align 4",
}
"""What stands for each row of a tile, its number in place of ``#``."""

_GATES = """
define internal void @NAME(ptr %out, ptr %gates, ptr %recurrent, ptr %sums, i64 %hidden, i1 %adds) {
entry:
  %twice = mul i64 %hidden, 2
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %second = add i64 %i, %hidden
  %third = add i64 %i, %twice
  %zp = getelementptr VEC, ptr %gates, i64 %i
  %cp = getelementptr VEC, ptr %gates, i64 %third
  %update = load VEC, ptr %zp, align 4
  %candidate = load VEC, ptr %cp, align 4
  STEP
  %op = getelementptr VEC, ptr %out, i64 %i
  %old = load VEC, ptr %op, align 4
  %kept = select i1 %adds, VEC %old, VEC ZERO
  %sum = fadd VEC %state, %kept
  store VEC %sum, ptr %op, align 4
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %hidden
  br i1 %more, label %loop, label %done
done:
  ret void
}"""

_FINISH = """
define internal void @finish(ptr %out, ptr %in, i64 %count, ptr %weights) {
entry:
  %bias = load float, ptr %weights, align 4
  %b0 = insertelement VEC poison, float %bias, i64 0
  %b = shufflevector VEC %b0, VEC poison, <LANES x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %acc = phi VEC [%b, %entry], [%sum, %loop]
  %next = add i64 %i, 1
  %wp = getelementptr float, ptr %weights, i64 %next
  %ws = load float, ptr %wp, align 4
  %w0 = insertelement VEC poison, float %ws, i64 0
  %w = shufflevector VEC %w0, VEC poison, <LANES x i32> zeroinitializer
  %xp = getelementptr VEC, ptr %in, i64 %i
  %x = load VEC, ptr %xp, align 4
  %relu = call VEC @llvm.maxnum.vLANESf32(VEC %x, VEC ZERO)
  %sum = call VEC @llvm.fmuladd.vLANESf32(VEC %w, VEC %relu, VEC %acc)
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  store VEC %sum, ptr %out, align 4
  ret void
}"""

_FOLD = """
define void @fold(i64 %count, i64 %num, i64 %pitch, ptr %code, ptr %weights, ptr %features, ptr %scores,
                  ptr %scratch) {
entry:
  br label %block
block:
  %base = phi i64 [0, %entry], [%nextbase, %endblock]
  %columns = getelementptr float, ptr %features, i64 %base
  br label %step
step:
  %i = phi i64 [0, %block], [%nexti, %advance]
  %p = getelementptr [8 x i64], ptr %code, i64 %i
  %p1 = getelementptr i64, ptr %p, i64 1
  %p2 = getelementptr i64, ptr %p, i64 2
  %p3 = getelementptr i64, ptr %p, i64 3
  %p4 = getelementptr i64, ptr %p, i64 4
  %p5 = getelementptr i64, ptr %p, i64 5
  %p6 = getelementptr i64, ptr %p, i64 6
  %p7 = getelementptr i64, ptr %p, i64 7
  %kind = load i64, ptr %p
  %target = load i64, ptr %p1
  %source = load i64, ptr %p2
  %size = load i64, ptr %p3
  %depth = load i64, ptr %p4
  %position = load i64, ptr %p5
  %flag = load i64, ptr %p6
  %extra = load i64, ptr %p7
  %adds = icmp ne i64 %flag, 0
  %out = getelementptr VEC, ptr %scratch, i64 %target
  %state = getelementptr VEC, ptr %scratch, i64 %source
  %other = getelementptr VEC, ptr %scratch, i64 %depth
  %last = getelementptr VEC, ptr %scratch, i64 %extra
  %w = getelementptr float, ptr %weights, i64 %position
  switch i64 %kind, label %advance [
    i64 0, label %features_case
    i64 1, label %states_case
    i64 2, label %leaf_case
    i64 3, label %inner_case
    i64 4, label %finish_case
  ]
features_case:
  %start = mul i64 %source, %pitch
  %feature = getelementptr float, ptr %columns, i64 %start
  call void @product(ptr %out, ptr %feature, i64 %pitch, i64 %size, i64 %depth, ptr %w, i1 %adds)
  br label %advance
states_case:
  call void @product(ptr %out, ptr %state, i64 LANES, i64 %size, i64 %depth, ptr %w, i1 %adds)
  br label %advance
leaf_case:
  call void @leaf_gates(ptr %out, ptr %state, ptr %last, ptr %other, i64 %size, i1 %adds)
  br label %advance
inner_case:
  call void @inner_gates(ptr %out, ptr %state, ptr %last, ptr %other, i64 %size, i1 %adds)
  br label %advance
finish_case:
  %result = getelementptr float, ptr %scores, i64 %base
  call void @finish(ptr %result, ptr %state, i64 %size, ptr %w)
  br label %advance
advance:
  %nexti = add i64 %i, 1
  %more = icmp slt i64 %nexti, %count
  br i1 %more, label %step, label %endblock
endblock:
  %nextbase = add i64 %base, LANES
  %again = icmp slt i64 %nextbase, %num
  br i1 %again, label %block, label %done
done:
  ret void
}"""
