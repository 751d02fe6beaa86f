"""Functions in LLVM IR that our own tools run, compiled for the CPU at hand."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, ParamSpec

import llvmlite.binding as llvm

P = ParamSpec("P")


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


def compiled_once(make: Callable[P, Function]) -> Callable[P, Function]:
    """What ``make`` compiles, kept for the rest of the process; threads that ask at the same time wait.

    A cache without the lock has both of them compile, and frees the code of one, whose address may be in use.
    """
    lock, kept = Lock(), functools.cache(make)

    @functools.wraps(make)
    def ask(*args: P.args, **kwargs: P.kwargs) -> Function:
        with lock:
            return kept(*args, **kwargs)  # type: ignore[arg-type]

    return ask
