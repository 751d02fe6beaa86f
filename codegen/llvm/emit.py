"""A whole program as the text of LLVM modules.

Two functions over one array of pointers (see ``codegen.llvm.signature``) are seen from outside:
``<symbol>_prepack(args)`` fills the packed buffers, and ``<symbol>_run(args)`` computes the output by calling
the other pieces of the program, where several threads do so by having each run ``<symbol>_member(args)``.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.ir.known import require_known
from codegen.ir.loops import Buffer, LoopProgram, Scope
from codegen.llvm.entries import Functions, emit_entries, function_lines, parameters
from codegen.llvm.linear import Mode
from codegen.llvm.pieces import Cut, Piece, arguments_of, cut_program
from codegen.llvm.plan import PlannedLoop, PlannedNode
from codegen.llvm.planning import plan_nodes
from codegen.llvm.signature import Signature, prepack_inputs, slice_elements
from codegen.llvm.statements import emit_nodes
from codegen.llvm.streams import NONTEMPORAL, emit_streaming
from codegen.llvm.team import emit_team
from codegen.llvm.writer import Head, Writer
from codegen.target import Target


@dataclass(frozen=True)
class ModuleText:
    """LLVM IR of a whole program in one module, and how to call it."""

    text: str
    signature: Signature


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
    """A piece as a function of the array of pointers and what else ``parameters`` says."""
    writer = Writer({b.name: f"%p{position}" for position, b in piece.arguments}, set(), piece.streamed)
    buffers = tuple(buffer for _, buffer in piece.buffers)
    if piece.is_shared:
        _slice_locals(writer, buffers)
    head = Head()
    writer.lines.append(head.lines)
    nodes = plan_nodes(piece.nodes, buffers, target.vector_lanes)
    for number in range(piece.outer):
        nodes = _enter(writer, head, nodes, f"%outer{number}")
    if piece.is_shared and not piece.outer:
        emit_streaming(writer, lambda: emit_team(writer, nodes))
    else:
        emit_streaming(writer, lambda: emit_nodes(writer, nodes))
    visibility = "" if piece.is_exported else "hidden "
    header = f"{visibility}void @{piece.name}({parameters(piece)})"
    lines = function_lines(header, [*_pointer_lines(piece), *writer.text()])
    return Functions(lines, writer.declarations, is_streamed=bool(piece.streamed))


def _enter(writer: Writer, head: Head, nodes: tuple[PlannedNode, ...], value: str) -> tuple[PlannedNode, ...]:
    """The body of the only loop, whose variable has that value."""
    (loop,) = nodes
    assert isinstance(loop, PlannedLoop)
    assert not loop.guards, "whoever runs the loop does not test them"
    name = loop.variable.name
    writer.offsets[name] = 0
    if loop.variable.mode is not Mode.UNROLLED:
        writer.names[name], writer.heads[name] = value, head
    return loop.body


def module_text(functions: Functions, target: Target) -> str:
    """A module that defines the functions."""
    declarations = [f"declare {one}" for one in sorted(functions.declarations | functions.calls)]
    metadata = [NONTEMPORAL] * functions.is_streamed
    return "\n".join([ZERO, *functions.lines, *declarations, *metadata, _attributes(target), ""])


ZERO = "@zero = internal constant float 0.0"
"""What is read where there is nothing to read."""


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


def _attributes(target: Target) -> str:
    """Registers as wide as the target's, where LLVM would prefer narrower ones for their clock."""
    width = 32 * target.vector_lanes
    return (
        f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}'
    )
