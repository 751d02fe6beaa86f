"""Running generated files in Triton's interpreter, on a CPU: slow, and all that checking needs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.ir.loops import LoopProgram, Scope
from codegen.precision import Precision
from codegen.triton.module import emit_module


def use_interpreter() -> None:
    """Have this process interpret every Triton kernel from now on, instead of compiling it.

    Raises:
        RuntimeError: Triton has been imported to compile; its own functions cannot be interpreted then.
    """
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set: use a fresh process")
    os.environ["TRITON_INTERPRET"] = "1"


def import_source(source: str, folder: str | Path) -> ModuleType:
    """A generated file as a module; it is written to the folder, where Triton reads its kernels."""
    name = f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    path = Path(folder) / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if os.environ.get("TRITON_INTERPRET") == "1":
        _mend_interpreter()
    return module


def _mend_interpreter() -> None:
    """Widen bfloat16 matrices, which is exact: Triton 3.9's interpreter multiplies their bit patterns."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    as_shipped = builder.create_dot
    if getattr(as_shipped, "widens", False):
        return

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        if a.dtype.scalar == tl.bfloat16:
            a, b = (self.cast_impl(side, tl.float32) for side in (a, b))
        return as_shipped(self, a, b, *rest)

    create_dot.widens = True  # type: ignore[attr-defined]
    builder.create_dot = create_dot


def interpret_triton(
    loops: LoopProgram,
    inputs: Mapping[str, NDArray[np.floating]],
    precision: Precision | None = None,
) -> NDArray[np.float32]:
    """The output of a loop program's Triton kernels for inputs in the shapes of its buffers.

    Inputs are rounded to the storage format first. The process has to ``use_interpreter``.

    Raises:
        ValueError: an input is missing or has another shape.
        ScheduleError: the loop program has no form as Triton kernels.
    """
    precision = precision or Precision()
    source = emit_module(loops, precision)
    with tempfile.TemporaryDirectory() as folder:
        return call_module(import_source(source, folder), loops, inputs, precision)


def call_module(
    module: ModuleType,
    loops: LoopProgram,
    inputs: Mapping[str, NDArray[np.floating]],
    precision: Precision,
) -> NDArray[np.float32]:
    """The output of a generated module's operator; ValueError if an input is missing."""
    import torch

    names = [buffer.name for buffer in loops.buffers if buffer.scope is Scope.INPUT]
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ValueError(f"input {missing[0]} is missing, got {', '.join(inputs) or 'none'}")
    dtype = getattr(torch, precision.storage)
    tensors = [torch.from_numpy(np.array(inputs[name], dtype=np.float32)).to(dtype) for name in names]
    with np.errstate(all="ignore"):  # of elements that are masked when they are stored
        result = getattr(module, loops.name)(*tensors)
    array: NDArray[np.float32] = result.to(torch.float32).numpy()
    return array
