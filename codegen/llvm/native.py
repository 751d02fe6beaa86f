"""Object code in memory, ready to be called."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from codegen.llvm.runtime import load_openmp
from codegen.llvm.signature import Signature

Call = Any
"""A ctypes function of one address (``bench`` has a count besides)."""


@dataclass(frozen=True)
class NativeCode:
    """Entry points of a loaded object; ``engine`` owns the memory they are in."""

    code: bytes
    engine: llvm.ExecutionEngine
    run: Call
    prepack: Call
    bench: Call


@cache
def initialize_llvm() -> None:
    """Prepare LLVM, once in a process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # Our loops advance their pointers themselves; LLVM's search for better ones takes a third of the time.
    llvm.set_option("codegen", "-disable-lsr")


def load_object(code: bytes, signature: Signature) -> NativeCode:
    """Link an object into this process.

    Raises:
        ValueError: if it needs threads and there is no OpenMP runtime.
    """
    if signature.num_threads > 1:
        load_openmp()
    initialize_llvm()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()

    def entry(part: str, *types: Any) -> Call:
        address = engine.get_function_address(f"{signature.symbol}_{part}")
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p, *types)(address)

    return NativeCode(code, engine, entry("run"), entry("prepack"), entry("bench", ctypes.c_int64))
