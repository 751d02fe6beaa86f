"""The kernels of a loop program, each as the compiler takes it: text, formats of its pointers, options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.ir.closures import known_int
from codegen.ir.known import require_known
from codegen.ir.loops import Buffer, LoopProgram, Store, walk_nodes
from codegen.precision import Precision
from codegen.schedule.errors import require
from codegen.triton.body import KernelText, kernel_text
from codegen.triton.normal_form import Nest, check_buffers, is_wide, nests
from codegen.triton.writing import call, indented

_LARGEST_BUFFER = 2**31


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How the programs of a grid are run: threads in warps, and stages of the software pipeline."""

    num_warps: int = 4
    num_stages: int = 2


@dataclass(frozen=True)
class NamedKernel:
    """A kernel and the name of its function."""

    name: str
    kernel: KernelText

    @property
    def definition(self) -> str:
        """The function as text, with its decorator."""
        parameters = [f"{pointer}_ptr" for pointer in self.kernel.pointers]
        parameters += [f"{block}: tl.constexpr" for block in self.kernel.blocks]
        head = call(f"def {self.name}", parameters, ":")
        return "\n".join(["@triton.jit", head, *indented(self.kernel.lines)])


@dataclass(frozen=True)
class Pointer:
    """A parameter that points to a buffer, the format of the buffer's elements, and its size."""

    parameter: str
    element: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class KernelSource:
    """What decides the binary of a kernel, but for the compiler and its target.

    ``text`` is a file that imports triton alone; ``blocks`` are the sizes known when it is compiled.
    """

    name: str
    text: str
    pointers: tuple[Pointer, ...]
    blocks: Mapping[str, int]
    launch: Launch
    num_programs: int


def named_kernels(
    loops: LoopProgram, precision: Precision
) -> tuple[tuple[NamedKernel, ...], tuple[NamedKernel, ...]]:
    """The kernels that pack constant inputs, and those that run at each call, in order.

    Raises:
        ValueError: the loop program is a batch.
        ScheduleError: it has no form as Triton kernels.
    """
    require_known(loops)
    check_buffers(loops)
    for buffer in loops.buffers:
        fits = math.prod(known_int(size) for size in buffer.shape) < _LARGEST_BUFFER
        require(fits, f"{buffer.name!r} has more elements than 32-bit offsets reach")
    buffers = {buffer.name: buffer for buffer in loops.buffers}
    first, then = nests(loops.prepack, buffers), nests(loops.body, buffers)
    parts = [*first, *then]
    blocks: dict[str, int] = {}
    kernels = tuple(
        NamedKernel(name, kernel_text(nest, buffers, precision, blocks))
        for name, nest in zip(_kernel_names(loops.name, parts), parts, strict=True)
    )
    return kernels[: len(first)], kernels[len(first) :]


def kernel_sources(loops: LoopProgram, precision: Precision, launch: Launch) -> tuple[KernelSource, ...]:
    """Every kernel of a concrete loop program for the compiler; errors as ``named_kernels``."""
    buffers = {buffer.name: buffer for buffer in loops.buffers}
    prepack, kernels = named_kernels(loops, precision)
    return tuple(_source(kernel, buffers, precision, launch) for kernel in (*prepack, *kernels))


def _source(
    named: NamedKernel, buffers: Mapping[str, Buffer], precision: Precision, launch: Launch
) -> KernelSource:
    return KernelSource(
        name=named.name,
        text=f"import triton\nimport triton.language as tl\n\n\n{named.definition}\n",
        pointers=tuple(_pointer(buffers[name], precision) for name in named.kernel.pointers),
        blocks=named.kernel.blocks,
        launch=launch,
        num_programs=named.kernel.num_programs,
    )


def _pointer(buffer: Buffer, precision: Precision) -> Pointer:
    element = "float32" if is_wide(buffer) else precision.storage
    size = math.prod(known_int(extent) for extent in buffer.shape)
    return Pointer(f"{buffer.name}_ptr", element, size * (4 if element == "float32" else 2))


def _kernel_names(name: str, parts: Sequence[Nest]) -> list[str]:
    """After the program, and where there are several kernels after what each of them writes last."""
    if len(parts) == 1:
        return [f"{name}_kernel"]
    names: list[str] = []
    for nest in parts:
        stored = [node.buffer for node in walk_nodes(nest.body) if isinstance(node, Store)]
        wanted = f"{name}_{stored[-1]}_kernel"
        names.append(wanted if wanted not in names else f"{wanted}_{len(names)}")
    return names
