"""The body of a kernel: program ids, loops, branches, statements.

Elements of tensors for which a guard fails hold anything: nothing that a sketch makes reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.ir.closures import known_int
from codegen.ir.expression import loads
from codegen.ir.loops import Buffer, If, Loop, LoopKind, Scope, Store, walk_nodes
from codegen.precision import Precision
from codegen.schedule.errors import require
from codegen.schedule.rewrite import Nodes
from codegen.triton.expressions import Evaluation, Kernel, Mask
from codegen.triton.layout import make_layout
from codegen.triton.names import Names
from codegen.triton.normal_form import Nest, accesses, all_loops, is_tensor_loop
from codegen.triton.positions import Positions
from codegen.triton.statements import store_lines
from codegen.triton.writing import indented


@dataclass(frozen=True)
class KernelText:
    """A kernel's lines without its head, the buffers that it takes, and its named sizes."""

    lines: tuple[str, ...]
    pointers: tuple[str, ...]
    blocks: dict[str, int]
    num_programs: int


def kernel_text(
    nest: Nest, buffers: dict[str, Buffer], precision: Precision, blocks: dict[str, int]
) -> KernelText:
    """One nest as Triton statements; sizes that it names are added to ``blocks``.

    Raises:
        ScheduleError: the nest has no form as tensors.
    """
    stores = [node for node in walk_nodes(nest.body) if isinstance(node, Store)]
    used = {access.buffer: None for store in stores for access in accesses(store)}
    memory = tuple(name for name in buffers if name in used and buffers[name].scope is not Scope.REGISTER)
    layout = make_layout(nest, buffers)
    scalars = {name for name, loop in all_loops(nest).items() if not is_tensor_loop(loop)}
    names = Names({*(f"{name}_ptr" for name in memory), *scalars})
    tensors = {name: names.new(name) for name in used if name not in memory}
    positions = Positions(nest, buffers, layout, names, blocks)
    kernel = Kernel(buffers, layout, positions, names, precision, tensors)
    body = _Body(kernel, _needs_barrier(stores)).lines(nest.body, (), ())
    lines = [*_program_ids(nest), *positions.definitions(None), *body]
    return KernelText(tuple(lines), memory, positions.blocks, nest.num_programs)


def _program_ids(nest: Nest) -> list[str]:
    """The loops of the grid as digits of the program id, the innermost the fastest."""
    loops = nest.grid
    if len(loops) == 1:
        return [f"{loops[0].variable} = tl.program_id(0)"]
    lines = ["pid = tl.program_id(0)"] if loops else []
    below = 1
    for loop in reversed(loops):
        quotient = f"pid // {below}" if below > 1 else "pid"
        is_outermost = loop is loops[0]
        lines.append(f"{loop.variable} = {quotient if is_outermost else f'{quotient} % {loop.extent}'}")
        below *= known_int(loop.extent)
    return lines


def _needs_barrier(stores: Sequence[Store]) -> set[str]:
    """Memory that a program reads after it has written it: its threads have to wait for each other."""
    written = {store.buffer for store in stores}
    read = {load.buffer for store in stores for load in loads(store.value)}
    return {store.buffer for store in stores if store.reducer is not None} | (written & read)


@dataclass(frozen=True)
class _Body:
    kernel: Kernel
    awaited: set[str]

    def lines(self, nodes: Nodes, around: tuple[Loop, ...], masks: tuple[Mask, ...]) -> list[str]:
        return [line for node in nodes for line in self._node(node, around, masks)]

    def _node(self, node: Loop | If | Store, around: tuple[Loop, ...], masks: tuple[Mask, ...]) -> list[str]:
        if isinstance(node, Store):
            lines = store_lines(self.kernel, node, around, masks)
            is_awaited = node.buffer in self.awaited and not self.kernel.is_tensor(node.buffer)
            return [*lines, "tl.debug_barrier()"] if is_awaited else lines
        if isinstance(node, If):
            return self._branch(node, around, masks)
        if is_tensor_loop(node):
            return self.lines(node.body, (*around, node), masks)
        body = self.lines(node.body, around, masks)
        body = [*self.kernel.positions.definitions(node.variable), *body]
        kind = "tl.static_range" if node.kind is LoopKind.UNROLLED else "range"
        return [f"for {node.variable} in {kind}({node.extent}):", *indented(body)]

    def _branch(self, node: If, around: tuple[Loop, ...], masks: tuple[Mask, ...]) -> list[str]:
        vectors = {loop.variable for loop in around}
        tensor = tuple(c for c in node.conditions if vectors & set(c.index.variables))
        scalar = tuple(c for c in node.conditions if not vectors & set(c.index.variables))
        require(not (tensor and node.otherwise), "a branch on the elements of tensors has no else")
        inside = (*masks, Mask(tensor)) if tensor else masks
        then = self.lines(node.then, around, inside)
        if not scalar:
            return then
        condition = Evaluation(self.kernel, (), ()).mask([Mask(scalar)])
        lines = [f"if {condition}:", *indented(then)]
        if node.otherwise:
            lines += ["else:", *indented(self.lines(node.otherwise, around, masks))]
        return lines
