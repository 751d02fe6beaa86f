"""Generated files: a header, kernels, and the functions that launch them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codegen.ir.closures import known_int
from codegen.ir.known import require_known
from codegen.ir.loops import Buffer, LoopProgram, Scope, Store, walk_nodes
from codegen.precision import Precision
from codegen.schedule.errors import require
from codegen.triton.body import KernelText, kernel_text
from codegen.triton.launcher import CHECK, Launcher, Operand
from codegen.triton.normal_form import Nest, check_buffers, nests
from codegen.triton.writing import call, indented

_LARGEST_BUFFER = 2**31


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How the programs of a grid are run: threads in warps, and stages of the software pipeline."""

    num_warps: int = 4
    num_stages: int = 2


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a file comes from: its first line, facts by name, and the lines of what is computed.

    ``user_shapes`` are the shapes of inputs and output by which users know them, where the program has
    others: a reshape, the elements stay in their order.
    """

    title: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    definition: tuple[str, ...] = ()
    user_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def emit_module(
    loops: LoopProgram,
    precision: Precision | None = None,
    launch: Launch | None = None,
    origin: Origin | None = None,
) -> str:
    """The source text of a Python file that computes a concrete loop program on a GPU.

    The file needs torch and triton and nothing of this project. Its function named like the program
    takes the inputs in the program's order and returns the output; the one that ends in ``_out`` writes
    it to a tensor that is passed.

    Raises:
        ValueError: the loop program is a batch, or has no inputs.
        ScheduleError: it has no form as Triton kernels.
    """
    require_known(loops)
    check_buffers(loops)
    for buffer in loops.buffers:
        fits = math.prod(_shape(buffer)) < _LARGEST_BUFFER
        require(fits, f"{buffer.name!r} has more elements than 32-bit offsets reach")
    precision, launch, origin = precision or Precision(), launch or Launch(), origin or Origin()
    buffers = {buffer.name: buffer for buffer in loops.buffers}
    first, then = nests(loops.prepack, buffers), nests(loops.body, buffers)
    parts = [*first, *then]
    blocks: dict[str, int] = {}
    kernels = tuple(
        (name, kernel_text(nest, buffers, precision, blocks))
        for name, nest in zip(_kernel_names(loops.name, parts), parts, strict=True)
    )
    split = kernels[: len(first)], kernels[len(first) :]
    launcher = _launcher(loops, precision, launch, origin, *split)
    sections = [
        launcher.constants(),
        *(_definition(*kernel) for kernel in kernels),
        *launcher.functions(),
        CHECK,
    ]
    body = "\n\n\n".join(sections)
    number = hashlib.sha256(body.encode()).hexdigest()[:12]
    return f"{_header(loops.name, origin)}\n\n{body}\n\n\n{launcher.operator(number)}\n"


def _shape(buffer: Buffer) -> tuple[int, ...]:
    return tuple(known_int(size) for size in buffer.shape)


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


def _definition(name: str, kernel: KernelText) -> str:
    parameters = [f"{pointer}_ptr" for pointer in kernel.pointers]
    parameters += [f"{block}: tl.constexpr" for block in kernel.blocks]
    return "\n".join(["@triton.jit", call(f"def {name}", parameters, ":"), *indented(kernel.lines)])


def _header(name: str, origin: Origin) -> str:
    width = max((len(fact) for fact in origin.facts), default=0)
    facts = [f"{fact:<{width}}  {text}" for fact, text in origin.facts.items()]
    parts = [[origin.title or f"{name} as Triton kernels."], facts, list(origin.definition)]
    text = "\n\n".join("\n".join(lines) for lines in parts if lines)
    imports = "import os\n\nimport torch\nimport triton\nimport triton.language as tl"
    closing = '\n"""' if "\n" in text else '"""'
    return f'"""{text}{closing}\n\n{imports}'


def _launcher(
    loops: LoopProgram,
    precision: Precision,
    launch: Launch,
    origin: Origin,
    prepack: tuple[tuple[str, KernelText], ...],
    kernels: tuple[tuple[str, KernelText], ...],
) -> Launcher:
    def of_scope(*scopes: Scope) -> tuple[Operand, ...]:
        return tuple(
            Operand(buffer.name, origin.user_shapes.get(buffer.name, _shape(buffer)))
            for buffer in loops.buffers
            if buffer.scope in scopes
        )

    inputs = of_scope(Scope.INPUT)
    if not inputs:
        raise ValueError(f"{loops.name} has no input, so nothing says where it should run")
    [output] = of_scope(Scope.OUTPUT)
    options = (f"num_warps={launch.num_warps}", f"num_stages={launch.num_stages}")
    return Launcher(
        loops.name,
        precision.storage,
        inputs,
        output,
        of_scope(Scope.GLOBAL),
        of_scope(Scope.PACKED),
        prepack,
        kernels,
        options,
    )
