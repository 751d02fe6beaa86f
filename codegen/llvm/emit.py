"""A whole program as the text of one LLVM module.

The module defines two functions over one array of pointers (see ``codegen.llvm.signature``):
``<symbol>_prepack(args)`` fills the packed buffers, and ``<symbol>_run(args)`` computes the output, where
several threads do so by having each of them run ``<symbol>_member(args)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from codegen.ir.known import require_known
from codegen.ir.loops import Buffer, LoopProgram, Scope
from codegen.llvm.planning import plan_nodes
from codegen.llvm.signature import Signature, prepack_inputs, slice_elements
from codegen.llvm.statements import emit_nodes
from codegen.llvm.streams import NONTEMPORAL, emit_streaming
from codegen.llvm.team import emit_team, num_useful_threads
from codegen.llvm.writer import Head, Writer
from codegen.target import Target


@dataclass(frozen=True)
class ModuleText:
    """LLVM IR, and how to call it.

    ``text`` is the whole module. ``parts`` are two modules that make it up: what computes, and the entry
    points that many candidates of a task have in common, so that their object need not be made again.
    """

    text: str
    parts: tuple[str, str]
    signature: Signature


def emit_module(program: LoopProgram, target: Target) -> ModuleText:
    """Emit a program whose Ints are all plain ints; ValueError otherwise."""
    require_known(program)
    arguments = tuple(b for b in program.buffers if b.scope not in (Scope.REGISTER, Scope.TABLE))
    symbol = re.sub(r"\W", "_", program.name) or "kernel"
    body = plan_nodes(program.body, program.buffers, target.vector_lanes)
    num_threads = num_useful_threads(body, target.num_threads)
    work, entries = _Functions(), _Functions()
    writer = _new_writer(arguments, work.declarations)
    if num_threads > 1:
        _slice_locals(writer, arguments)
        emit_streaming(writer, lambda: emit_team(writer, body))
        work.lines.extend(_function(f"hidden void @{symbol}_member", arguments, writer, MEMBER_LINES))
        work.declarations.update(TEAM_DECLARATIONS)
        call = f"  call void @GOMP_parallel(ptr @{symbol}_member, ptr %args, i32 {num_threads}, i32 0)"
        entries.lines.extend(_function_of_lines(f"void @{symbol}_run(ptr %args)", [call]))
        entries.declarations.add(PARALLEL_DECLARATION)
    else:
        emit_streaming(writer, lambda: emit_nodes(writer, body))
        work.lines.extend(_function(f"void @{symbol}_run", arguments, writer))
    writer = _new_writer(arguments, entries.declarations)
    emit_nodes(writer, plan_nodes(program.prepack, program.buffers, target.vector_lanes))
    entries.lines.extend(_function(f"void @{symbol}_prepack", arguments, writer))
    whole = _Functions(work.lines + entries.lines, work.declarations | entries.declarations)
    if num_threads > 1:
        entries.declarations.add(f"void @{symbol}_member(ptr)")
    is_streamed = any(buffer.is_streamed for buffer in arguments)
    parts = (_module(work, target, is_streamed), _module(entries, target, False))
    signature = Signature(symbol, arguments, num_threads, prepack_inputs(program))
    return ModuleText(_module(whole, target, is_streamed), parts, signature)


@dataclass(frozen=True)
class _Functions:
    """Lines of definitions, and the declarations that they need."""

    lines: list[str] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)


def _module(functions: _Functions, target: Target, is_streamed: bool) -> str:
    declarations = [f"declare {declaration}" for declaration in sorted(functions.declarations)]
    metadata = [NONTEMPORAL] * is_streamed
    lines = [ZERO, *functions.lines, *declarations, *metadata, _attributes(target), ""]
    return "\n".join(lines)


ZERO = "@zero = internal constant float 0.0"
"""What is read where there is nothing to read."""


PARALLEL_DECLARATION = "void @GOMP_parallel(ptr, ptr, i32, i32)"

TEAM_DECLARATIONS = ("void @GOMP_barrier()", "i32 @omp_get_thread_num()", "i32 @omp_get_num_threads()")
"""What a member of a team calls."""


MEMBER_LINES = (
    "  %thread32 = call i32 @omp_get_thread_num()",
    "  %threads32 = call i32 @omp_get_num_threads()",
    "  %thread = zext i32 %thread32 to i64",
    "  %threads = zext i32 %threads32 to i64",
)
"""What a thread of the team asks first."""


def _new_writer(arguments: tuple[Buffer, ...], declarations: set[str]) -> Writer:
    streamed = frozenset(buffer.name for buffer in arguments if buffer.is_streamed)
    writer = Writer({buffer.name: f"%p{i}" for i, buffer in enumerate(arguments)}, declarations, streamed)
    head = Head()
    writer.lines.append(head.lines)
    writer.heads[""] = head
    return writer


def _slice_locals(writer: Writer, arguments: tuple[Buffer, ...]) -> None:
    for buffer in arguments:
        if buffer.scope is Scope.LOCAL:
            start = writer.value(f"mul i64 %thread, {slice_elements(buffer)}")
            whole = writer.pointers[buffer.name]
            writer.pointers[buffer.name] = writer.value(f"getelementptr float, ptr {whole}, i64 {start}")


def _function(
    header: str, arguments: tuple[Buffer, ...], writer: Writer, first: tuple[str, ...] = ()
) -> list[str]:
    """A function that takes the pointers out of the argument array.

    LLVM takes its time over the smallest function, so none passes them on to another.
    """
    text = writer.text()
    loads = []
    for position in range(len(arguments) if text else 0):
        loads.append(f"  %s{position} = getelementptr ptr, ptr %args, i64 {position}")
        loads.append(f"  %p{position} = load ptr, ptr %s{position}, align 8")
    return _function_of_lines(f"{header}(ptr %args)", [*loads, *first, *text])


def _function_of_lines(header: str, lines: list[str]) -> list[str]:
    return [f"define {header} #0 {{", "entry:", *lines, "  ret void", "}"]


def _attributes(target: Target) -> str:
    """Registers as wide as the target's, where LLVM would prefer narrower ones for their clock."""
    width = 32 * target.vector_lanes
    return (
        f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}'
    )
