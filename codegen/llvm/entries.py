"""What calls the pieces of a program: the entry that callers see, and what a thread of the team does."""

from __future__ import annotations

import math
from dataclasses import dataclass

from codegen.llvm.pieces import Cut, Piece, Step
from codegen.llvm.team import BARRIER_DECLARATION, BARRIER_LINE

ENTRY_DECLARATIONS = (
    "void @GOMP_parallel(ptr, ptr, i32, i32)",
    "i32 @omp_get_thread_num()",
    "i32 @omp_get_num_threads()",
)

MEMBER_LINES = (
    "  %thread32 = call i32 @omp_get_thread_num()",
    "  %threads32 = call i32 @omp_get_num_threads()",
    "  %thread = zext i32 %thread32 to i64",
    "  %threads = zext i32 %threads32 to i64",
)
"""What a thread of the team asks first."""


@dataclass(frozen=True)
class Functions:
    """Lines of definitions, and the declarations that they need; ``calls`` are those of functions of ours."""

    lines: list[str]
    declarations: set[str]
    calls: frozenset[str] = frozenset()
    is_streamed: bool = False


def emit_entries(cut: Cut) -> Functions:
    """What runs the body; the same for many candidates of a task."""
    called = frozenset(f"void @{p.name}({parameters(p, is_named=False)})" for s in cut.body for p in s.pieces)
    run = f"void @{cut.symbol}_run(ptr %args)"
    is_team = cut.num_threads > 1
    lines = [*MEMBER_LINES] if is_team else []
    block = "entry"
    for number, step in enumerate(cut.body):
        if is_team and number:
            lines.append(BARRIER_LINE)
        if step.extents:
            lines += _nest_lines(step, number, block, is_team)
            block = f"done{number}"
        else:
            lines += [_call(piece) for piece in step.pieces]
    if not is_team:
        return Functions(function_lines(run, lines), set(), called)
    start = f"  call void @GOMP_parallel(ptr @{cut.symbol}_member, ptr %args, i32 {cut.num_threads}, i32 0)"
    lines = [
        *function_lines(f"hidden void @{cut.symbol}_member(ptr %args)", lines),
        *function_lines(run, [start]),
    ]
    return Functions(lines, {*ENTRY_DECLARATIONS, BARRIER_DECLARATION}, called)


def parameters(piece: Piece, *, is_named: bool = True) -> str:
    """The array of pointers; in a team which thread of how many runs it; variables of loops around it."""
    names = ["ptr %args"]
    if piece.is_shared:
        names += ["i64 %thread", "i64 %threads"]
    names += [f"i64 %outer{number}" for number in range(piece.outer)]
    return ", ".join(names if is_named else [name.split()[0] for name in names])


def function_lines(header: str, lines: list[str]) -> list[str]:
    """A function that returns at the end of the lines."""
    return [f"define {header} #0 {{", "entry:", *lines, "  ret void", "}"]


def _call(piece: Piece, suffix: str = "") -> str:
    return f"  call void @{piece.name}({parameters(piece).replace('%outer', f'%outer{suffix}')})"


def _nest_lines(step: Step, number: int, before: str, is_team: bool) -> list[str]:
    """Nested loops as one range of numbers, a contiguous piece for each thread, behind block ``before``."""
    n, num_iterations = str(number), math.prod(step.extents)
    start, stop, lines = "0", str(num_iterations), []
    if is_team:
        start, stop = f"%start{n}", f"%stop{n}"
        lines = [
            f"  %first{n} = mul i64 %thread, {num_iterations}",
            f"  %start{n} = udiv i64 %first{n}, %threads",
            f"  %after{n} = add i64 %first{n}, {num_iterations}",
            f"  %stop{n} = udiv i64 %after{n}, %threads",
        ]
    lines += [
        f"  %some{n} = icmp slt i64 {start}, {stop}",
        f"  br i1 %some{n}, label %loop{n}, label %done{n}",
        f"loop{n}:",
        f"  %number{n} = phi i64 [ {start}, %{before} ], [ %next{n}, %loop{n} ]",
    ]
    for position, extent in enumerate(step.extents):
        inner = math.prod(step.extents[position + 1 :])
        lines.append(f"  %piece{n}_{position} = udiv i64 %number{n}, {inner}")
        lines.append(f"  %outer{n}_{position} = urem i64 %piece{n}_{position}, {extent}")
    return [
        *lines,
        *(_call(piece, f"{n}_") for piece in step.pieces),
        f"  %next{n} = add i64 %number{n}, 1",
        f"  %more{n} = icmp slt i64 %next{n}, {stop}",
        f"  br i1 %more{n}, label %loop{n}, label %done{n}",
        f"done{n}:",
    ]
