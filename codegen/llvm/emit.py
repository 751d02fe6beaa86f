"""A whole program as the text of one LLVM module.

The module defines three functions over one array of pointers (see ``codegen.llvm.signature``):
``<symbol>_prepack(args)`` fills the packed buffers, ``<symbol>_run(args)`` computes the output, and
``<symbol>_bench(args, n)`` runs it n times in a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codegen.ir.known import require_known
from codegen.ir.loops import Buffer, LoopProgram, Scope
from codegen.llvm.planning import plan_nodes
from codegen.llvm.signature import Signature, prepack_inputs, slice_elements
from codegen.llvm.statements import emit_nodes
from codegen.llvm.team import emit_team, num_useful_threads
from codegen.llvm.writer import Head, Writer
from codegen.target import Target


@dataclass(frozen=True)
class ModuleText:
    """LLVM IR, and how to call it."""

    text: str
    signature: Signature


def emit_module(program: LoopProgram, target: Target) -> ModuleText:
    """Emit a program whose Ints are all plain ints; ValueError otherwise."""
    require_known(program)
    arguments = tuple(buffer for buffer in program.buffers if buffer.scope is not Scope.REGISTER)
    symbol = re.sub(r"\W", "_", program.name) or "kernel"
    declarations: set[str] = set()
    body = plan_nodes(program.body, program.buffers, target.vector_lanes)
    num_threads = num_useful_threads(body, target.num_threads)
    parts: list[str] = []
    for name, nodes, threads in (("body", program.body, num_threads), ("prepack", program.prepack, 1)):
        plan = body if nodes is program.body else plan_nodes(nodes, program.buffers, target.vector_lanes)
        writer = _new_writer(arguments, declarations)
        _slice_locals(writer, arguments, threads)
        if threads > 1:
            emit_team(writer, plan)
        else:
            emit_nodes(writer, plan)
        parts += _function(f"{name}_of_one_thread", arguments, writer, threads)
    parts += _entry_points(symbol, arguments, num_threads)
    if num_threads > 1:
        declarations |= TEAM_DECLARATIONS
    parts += [f"declare {declaration}" for declaration in sorted(declarations)]
    text = "\n".join(["@zero = internal constant float 0.0", *parts, _attributes(target), ""])
    return ModuleText(text, Signature(symbol, arguments, num_threads, prepack_inputs(program)))


TEAM_DECLARATIONS = frozenset(
    {
        "void @GOMP_parallel(ptr, ptr, i32, i32)",
        "void @GOMP_barrier()",
        "i32 @omp_get_thread_num()",
        "i32 @omp_get_num_threads()",
    }
)


def _new_writer(arguments: tuple[Buffer, ...], declarations: set[str]) -> Writer:
    writer = Writer({buffer.name: f"%p{i}" for i, buffer in enumerate(arguments)}, declarations)
    head = Head()
    writer.lines.append(head.lines)
    writer.heads[""] = head
    return writer


def _slice_locals(writer: Writer, arguments: tuple[Buffer, ...], num_threads: int) -> None:
    for buffer in arguments:
        if buffer.scope is Scope.LOCAL and num_threads > 1:
            start = writer.value(f"mul i64 %thread, {slice_elements(buffer)}")
            whole = writer.pointers[buffer.name]
            writer.pointers[buffer.name] = writer.value(f"getelementptr float, ptr {whole}, i64 {start}")


def _function(name: str, arguments: tuple[Buffer, ...], writer: Writer, num_threads: int) -> list[str]:
    parameters = "".join(
        f"ptr {'' if _is_written_by_others(buffer, num_threads) else 'noalias '}%p{position}, "
        for position, buffer in enumerate(arguments)
    )
    header = f"define internal void @{name}({parameters}i64 %thread, i64 %threads) #0 {{"
    return [header, "entry:", *writer.text(), "  ret void", "}"]


def _is_written_by_others(buffer: Buffer, num_threads: int) -> bool:
    """Whether other threads write it between barriers, so that a value read before one is stale behind it."""
    return num_threads > 1 and buffer.scope in (Scope.GLOBAL, Scope.OUTPUT)


def _entry_points(symbol: str, arguments: tuple[Buffer, ...], num_threads: int) -> list[str]:
    lines = [*_caller(f"void @{symbol}_prepack", "prepack", len(arguments))]
    if num_threads > 1:
        lines += [
            *_caller("internal void @member", "body", len(arguments), True),
            f"define void @{symbol}_run(ptr %args) #0 {{",
            f"  call void @GOMP_parallel(ptr @member, ptr %args, i32 {num_threads}, i32 0)",
            "  ret void",
            "}",
        ]
    else:
        lines += _caller(f"void @{symbol}_run", "body", len(arguments))
    return [
        *lines,
        f"define void @{symbol}_bench(ptr %args, i64 %n) #0 {{",
        "entry:",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        f"  call void @{symbol}_run(ptr %args)",
        "  %next = add i64 %i, 1",
        "  %more = icmp slt i64 %next, %n",
        "  br i1 %more, label %loop, label %end",
        "end:",
        "  ret void",
        "}",
    ]


def _caller(header: str, part: str, num_arguments: int, in_team: bool = False) -> list[str]:
    """A function that takes the pointers out of the argument array and calls a part."""
    lines = [f"define {header}(ptr %args) #0 {{"]
    for position in range(num_arguments):
        lines.append(f"  %s{position} = getelementptr ptr, ptr %args, i64 {position}")
        lines.append(f"  %p{position} = load ptr, ptr %s{position}, align 8")
    thread, threads = "0", "1"
    if in_team:
        thread, threads = "%thread", "%threads"
        lines += [
            "  %thread32 = call i32 @omp_get_thread_num()",
            "  %threads32 = call i32 @omp_get_num_threads()",
            "  %thread = zext i32 %thread32 to i64",
            "  %threads = zext i32 %threads32 to i64",
        ]
    pointers = "".join(f"ptr %p{position}, " for position in range(num_arguments))
    lines.append(f"  call void @{part}_of_one_thread({pointers}i64 {thread}, i64 {threads})")
    return [*lines, "  ret void", "}"]


def _attributes(target: Target) -> str:
    """Registers as wide as the target's, where LLVM would prefer narrower ones for their clock."""
    width = 32 * target.vector_lanes
    return (
        f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}'
    )
