"""Generated files: a header, kernels, and the functions that launch them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from codegen.ir.closures import known_int
from codegen.ir.loops import Buffer, LoopProgram, Scope
from codegen.precision import Precision
from codegen.triton.kernels import Launch, NamedKernel, named_kernels
from codegen.triton.launcher import CHECK, Launcher, Operand
from codegen.triton.normal_form import is_wide


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
    precision, launch, origin = precision or Precision(), launch or Launch(), origin or Origin()
    prepack, kernels = named_kernels(loops, precision)
    launcher = _launcher(loops, precision, launch, origin, prepack, kernels)
    sections = [
        launcher.constants(),
        *(kernel.definition for kernel in (*prepack, *kernels)),
        *launcher.functions(),
        CHECK,
    ]
    body = "\n\n\n".join(sections)
    number = hashlib.sha256(body.encode()).hexdigest()[:12]
    return f"{_header(loops.name, origin)}\n\n{body}\n\n\n{launcher.operator(number)}\n"


def _shape(buffer: Buffer) -> tuple[int, ...]:
    return tuple(known_int(size) for size in buffer.shape)


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
    prepack: tuple[NamedKernel, ...],
    kernels: tuple[NamedKernel, ...],
) -> Launcher:
    def of_scope(*scopes: Scope) -> tuple[Operand, ...]:
        return tuple(
            Operand(buffer.name, origin.user_shapes.get(buffer.name, _shape(buffer)), is_wide(buffer))
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
        tuple((named.name, named.kernel) for named in prepack),
        tuple((named.name, named.kernel) for named in kernels),
        options,
    )
