"""LLVM IR of the loop over jobs: knobs to features to clipped features to scores, without Python between.

A job is a row of ``costmodel.native.FIELDS`` integers; addresses are among them.
"""

from __future__ import annotations

FIELDS = (
    "num",  # candidates
    "padded",  # the same, rounded up to what the feature machine computes together
    "order",  # address: the candidates' row numbers, int64
    "num_inputs",
    "starts",  # address: where each input's values start in the table, int64
    "code",  # address of the feature machine's instructions
    "num_code",
    "stride",  # floats per row of features
    "num_varying",
    "least",  # address: bounds of the features, float32
    "greatest",
    "fold",  # address of the encoder's function
    "fold_code",  # address of its instructions
    "num_fold_code",
    "weights",  # address, float32
    "fold_padded",  # candidates rounded up to what the encoder computes together
)


def driver_text() -> str:
    """The module; its entry is ``drive``."""
    loads = []
    for number, name in enumerate(FIELDS):
        kind = "i64" if name in _SIZES else "ptr"
        loads.append(f"%at.{name} = getelementptr i64, ptr %job, i64 {number}")
        loads.append(f"%{name} = load {kind}, ptr %at.{name}, align 8")
    drive = _DRIVE.replace("LOADS", "\n  ".join(loads)).replace("FIELDS", str(len(FIELDS)))
    return "\n".join([_DECLARATIONS, _GATHER, _CLIP, _SCATTER, drive])


_SIZES = {
    "num",
    "padded",
    "num_inputs",
    "num_code",
    "stride",
    "num_varying",
    "num_fold_code",
    "fold_padded",
}

_DECLARATIONS = """
declare <8 x float> @llvm.minnum.v8f32(<8 x float>, <8 x float>)
declare <8 x float> @llvm.maxnum.v8f32(<8 x float>, <8 x float>)"""

_GATHER = """
define internal void @gather(i64 %num, i64 %padded, ptr %order, i64 %inputs, ptr %starts, ptr %positions,
                             i64 %pitch, ptr %table, ptr %values) {
entry:
  %last = sub i64 %num, 1
  %empty = icmp eq i64 %inputs, 0
  br i1 %empty, label %done, label %input
input:
  %k = phi i64 [0, %entry], [%nextk, %end]
  %sp = getelementptr i64, ptr %starts, i64 %k
  %start = load i64, ptr %sp, align 8
  %line = mul i64 %k, %padded
  br label %candidate
candidate:
  %i = phi i64 [0, %input], [%nexti, %candidate]
  %inside = icmp slt i64 %i, %last
  %j = select i1 %inside, i64 %i, i64 %last
  %op = getelementptr i64, ptr %order, i64 %j
  %row = load i64, ptr %op, align 8
  %first = mul i64 %row, %pitch
  %place = add i64 %first, %k
  %pp = getelementptr i64, ptr %positions, i64 %place
  %position = load i64, ptr %pp, align 8
  %entryno = add i64 %start, %position
  %tp = getelementptr double, ptr %table, i64 %entryno
  %value = load double, ptr %tp, align 8
  %to = add i64 %line, %i
  %vp = getelementptr double, ptr %values, i64 %to
  store double %value, ptr %vp, align 8
  %nexti = add i64 %i, 1
  %more = icmp slt i64 %nexti, %padded
  br i1 %more, label %candidate, label %end
end:
  %nextk = add i64 %k, 1
  %again = icmp slt i64 %nextk, %inputs
  br i1 %again, label %input, label %done
done:
  ret void
}"""
"""Values of the knobs, one row of ``padded`` each; beyond ``num`` the last candidate's, which is legal."""

_CLIP = """
define internal void @clip(i64 %count, i64 %padded, i64 %stride, ptr %least, ptr %greatest, ptr %features) {
entry:
  %empty = icmp eq i64 %count, 0
  br i1 %empty, label %done, label %feature
feature:
  %f = phi i64 [0, %entry], [%nextf, %end]
  %lp = getelementptr float, ptr %least, i64 %f
  %gp = getelementptr float, ptr %greatest, i64 %f
  %low = load float, ptr %lp, align 4
  %high = load float, ptr %gp, align 4
  %l0 = insertelement <8 x float> poison, float %low, i64 0
  %l = shufflevector <8 x float> %l0, <8 x float> poison, <8 x i32> zeroinitializer
  %g0 = insertelement <8 x float> poison, float %high, i64 0
  %g = shufflevector <8 x float> %g0, <8 x float> poison, <8 x i32> zeroinitializer
  %line = mul i64 %f, %stride
  br label %candidate
candidate:
  %i = phi i64 [0, %feature], [%nexti, %candidate]
  %at = add i64 %line, %i
  %p = getelementptr float, ptr %features, i64 %at
  %x = load <8 x float>, ptr %p, align 4
  %raised = call <8 x float> @llvm.maxnum.v8f32(<8 x float> %x, <8 x float> %l)
  %clipped = call <8 x float> @llvm.minnum.v8f32(<8 x float> %raised, <8 x float> %g)
  store <8 x float> %clipped, ptr %p, align 4
  %nexti = add i64 %i, 8
  %more = icmp slt i64 %nexti, %padded
  br i1 %more, label %candidate, label %end
end:
  %nextf = add i64 %f, 1
  %again = icmp slt i64 %nextf, %count
  br i1 %again, label %feature, label %done
done:
  ret void
}"""

_SCATTER = """
define internal void @scatter(i64 %num, ptr %order, ptr %scores, ptr %result) {
entry:
  br label %candidate
candidate:
  %i = phi i64 [0, %entry], [%nexti, %candidate]
  %sp = getelementptr float, ptr %scores, i64 %i
  %score = load float, ptr %sp, align 4
  %op = getelementptr i64, ptr %order, i64 %i
  %row = load i64, ptr %op, align 8
  %rp = getelementptr float, ptr %result, i64 %row
  store float %score, ptr %rp, align 4
  %nexti = add i64 %i, 1
  %more = icmp slt i64 %nexti, %num
  br i1 %more, label %candidate, label %done
done:
  ret void
}"""

_DRIVE = """
define void @drive(i64 %jobs, ptr %first, ptr %positions, i64 %pitch, ptr %table, ptr %run, ptr %result,
                   ptr %values, ptr %rows, ptr %features, ptr %scores, ptr %scratch) {
entry:
  br label %next
next:
  %n = phi i64 [0, %entry], [%nextn, %next]
  %offset = mul i64 %n, FIELDS
  %job = getelementptr i64, ptr %first, i64 %offset
  LOADS
  call void @gather(i64 %num, i64 %padded, ptr %order, i64 %num_inputs, ptr %starts, ptr %positions,
                    i64 %pitch, ptr %table, ptr %values)
  call void %run(i64 %num_code, i64 %padded, i64 %stride, ptr %code, ptr %rows, ptr %values, ptr %features)
  call void @clip(i64 %num_varying, i64 %padded, i64 %stride, ptr %least, ptr %greatest, ptr %features)
  call void %fold(i64 %num_fold_code, i64 %fold_padded, i64 %stride, ptr %fold_code, ptr %weights,
                  ptr %features, ptr %scores, ptr %scratch)
  call void @scatter(i64 %num, ptr %order, ptr %scores, ptr %result)
  %nextn = add i64 %n, 1
  %more = icmp slt i64 %nextn, %jobs
  br i1 %more, label %next, label %done
done:
  ret void
}"""
