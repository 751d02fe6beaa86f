"""A whole program as the text of LLVM modules.

Two functions over one array of pointers (see ``codegen.llvm.signature``) are seen from outside:
``<symbol>_prepack(args)`` fills the packed buffers, and ``<symbol>_run(args)`` computes the output by calling
the other pieces of the program, where several threads do so by having each run ``<symbol>_member(args)``.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.ir.known import require_known
from codegen.ir.loops import Buffer, LoopProgram, Scope
from codegen.llvm.pieces import Cut, Piece, arguments_of, cut_program
from codegen.llvm.planning import plan_nodes
from codegen.llvm.signature import Signature, prepack_inputs, slice_elements
from codegen.llvm.statements import emit_nodes
from codegen.llvm.streams import NONTEMPORAL, emit_streaming
from codegen.llvm.team import BARRIER_DECLARATION, BARRIER_LINE, emit_team
from codegen.llvm.writer import Head, Writer
from codegen.target import Target


@dataclass(frozen=True)
class ModuleText:
    """LLVM IR of a whole program in one module, and how to call it."""

    text: str
    signature: Signature


@dataclass(frozen=True)
class Functions:
    """Lines of definitions, and the declarations that they need; ``calls`` are those of functions of ours."""

    lines: list[str]
    declarations: set[str]
    calls: frozenset[str] = frozenset()
    is_streamed: bool = False


def cut_known(program: LoopProgram, target: Target) -> tuple[Cut, Signature]:
    """The pieces of a program and how to call it; ValueError unless all its Ints are plain ints."""
    require_known(program)
    cut = cut_program(program, target.num_threads)
    return cut, Signature(cut.symbol, arguments_of(program.buffers), cut.num_threads, prepack_inputs(program))


def emit_module(program: LoopProgram, target: Target) -> ModuleText:
    """Emit a program whose Ints are all plain ints; ValueError otherwise."""
    cut, signature = cut_known(program, target)
    whole = Functions([], set(), is_streamed=any(piece.streamed for piece in cut.pieces))
    for part in (*(emit_piece(piece, target) for piece in cut.pieces), emit_entries(cut)):
        whole.lines.extend(part.lines)
        whole.declarations.update(part.declarations)
    return ModuleText(module_text(whole, target), signature)


def emit_piece(piece: Piece, target: Target) -> Functions:
    """A piece as a function of the array of pointers; a shared one also takes a thread and their number."""
    writer = Writer({b.name: f"%p{position}" for position, b in piece.arguments}, set(), piece.streamed)
    head = Head()
    writer.lines.append(head.lines)
    writer.heads[""] = head
    buffers = tuple(buffer for _, buffer in piece.buffers)
    nodes = plan_nodes(piece.nodes, buffers, target.vector_lanes)
    if piece.is_shared:
        _slice_locals(writer, buffers)
        emit_streaming(writer, lambda: emit_team(writer, nodes))
    else:
        emit_streaming(writer, lambda: emit_nodes(writer, nodes))
    visibility = "" if piece.is_exported else "hidden "
    header = (
        f"{visibility}void @{piece.name}({_parameters(piece, 'ptr %args', 'i64 %thread', 'i64 %threads')})"
    )
    lines = _function(header, [*_pointer_lines(piece), *writer.text()])
    return Functions(lines, writer.declarations, is_streamed=bool(piece.streamed))


def emit_entries(cut: Cut) -> Functions:
    """What calls the pieces of the body; the same for many candidates of a task."""
    calls = [
        f"  call void @{piece.name}({_parameters(piece, 'ptr %args', 'i64 %thread', 'i64 %threads')})"
        for piece in cut.body
    ]
    called = frozenset(f"void @{piece.name}({_parameters(piece, 'ptr', 'i64', 'i64')})" for piece in cut.body)
    run = f"void @{cut.symbol}_run(ptr %args)"
    if cut.num_threads == 1:
        return Functions(_function(run, calls), set(), called)
    member = [*MEMBER_LINES, *f"\n{BARRIER_LINE}\n".join(calls).split("\n")]
    start = f"  call void @GOMP_parallel(ptr @{cut.symbol}_member, ptr %args, i32 {cut.num_threads}, i32 0)"
    lines = [*_function(f"hidden void @{cut.symbol}_member(ptr %args)", member), *_function(run, [start])]
    return Functions(lines, {*ENTRY_DECLARATIONS, BARRIER_DECLARATION}, called)


def module_text(functions: Functions, target: Target) -> str:
    """A module that defines the functions."""
    declarations = [f"declare {one}" for one in sorted(functions.declarations | functions.calls)]
    metadata = [NONTEMPORAL] * functions.is_streamed
    return "\n".join([ZERO, *functions.lines, *declarations, *metadata, _attributes(target), ""])


ZERO = "@zero = internal constant float 0.0"
"""What is read where there is nothing to read."""

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


def _parameters(piece: Piece, *names: str) -> str:
    return ", ".join(names if piece.is_shared else names[:1])


def _slice_locals(writer: Writer, buffers: tuple[Buffer, ...]) -> None:
    for buffer in buffers:
        if buffer.scope is Scope.LOCAL:
            start = writer.value(f"mul i64 %thread, {slice_elements(buffer)}")
            whole = writer.pointers[buffer.name]
            writer.pointers[buffer.name] = writer.value(f"getelementptr float, ptr {whole}, i64 {start}")


def _pointer_lines(piece: Piece) -> list[str]:
    """The pointers that a piece needs, out of the array."""
    lines = []
    for position, _ in piece.arguments:
        lines.append(f"  %s{position} = getelementptr ptr, ptr %args, i64 {position}")
        lines.append(f"  %p{position} = load ptr, ptr %s{position}, align 8")
    return lines


def _function(header: str, lines: list[str]) -> list[str]:
    return [f"define {header} #0 {{", "entry:", *lines, "  ret void", "}"]


def _attributes(target: Target) -> str:
    """Registers as wide as the target's, where LLVM would prefer narrower ones for their clock."""
    width = 32 * target.vector_lanes
    return (
        f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}'
    )
