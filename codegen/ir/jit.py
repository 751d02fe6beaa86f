"""Functions in LLVM IR that our own tools run, compiled for the CPU at hand."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm


@dataclass(frozen=True)
class Function:
    """Compiled code, callable and by ``address``; ``engine`` owns it.

    Called, it lets go of Python's lock; pointers are passed as integers.
    """

    call: Callable[..., None]
    address: int
    engine: Any


def compile_function(text: str, name: str, arguments: Sequence[Any], more_features: str = "") -> Function:
    """The function ``name`` of a module, which returns nothing; ``arguments`` are types of ctypes.

    ``more_features`` of LLVM's, each with its sign and a comma before it, stand after those of the CPU.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten() + more_features
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=2
    )
    module = llvm.parse_assembly(text)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    address = engine.get_function_address(name)
    return Function(ctypes.CFUNCTYPE(None, *arguments)(address), address, engine)
