"""Object code in memory, ready to be called."""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import count
from typing import Any

import llvmlite.binding as llvm

from codegen.llvm.runtime import load_openmp
from codegen.llvm.signature import Signature

ELF_HEADER_BYTES = 64

CODEGEN_OPTIONS = (
    # Our loops advance their pointers themselves; LLVM's search for better ones takes long.
    "-disable-lsr",
    # Scheduling once more after register allocation: out-of-order cores do that themselves.
    "-disable-post-ra",
    # What follows finds nothing to do in straight-line vector code and takes a seventh of the time together:
    # neighbouring stores already are vectors, and their pairwise comparison is quadratic in their number,
    "-combiner-store-merging=false",
    # addresses and constants are where they should be,
    "-disable-cgp",
    "-disable-constant-hoisting",
    "-disable-partial-libcall-inlining",
    "-disable-mergeicmps",
    # products and sums are fused already, and lanes already in vector registers,
    "-x86-machine-combiner=false",
    "-disable-x86-domain-reassignment",
    # branches are loops and tails, not choices between two values,
    "-x86-cmov-converter=false",
    "-disable-early-ifcvt",
    "-disable-early-taildup",
    "-disable-tail-duplicate",
    "-disable-branch-fold",
    # and what is left in place after register allocation costs little outside the inner loop.
    "-disable-postra-machine-sink",
    "-disable-postra-machine-licm",
    "-enable-shrink-wrap=false",
    "-disable-ssc",
    "-disable-cfi-fixup",
)
"""Passes of LLVM's code generator that do not pay here."""

Call = Any
"""A ctypes function of one address."""


@dataclass(frozen=True)
class NativeCode:
    """Entry points of loaded objects; ``library`` owns the memory they are in.

    ``bench`` takes the array of pointers and a number of calls to make of ``run``.
    """

    library: Any
    run: Call
    prepack: Call
    bench: Call


@cache
def initialize_llvm() -> None:
    """Prepare LLVM, once in a process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for option in CODEGEN_OPTIONS:
        llvm.set_option("codegen", option)


def load_objects(codes: tuple[bytes, ...], signature: Signature) -> NativeCode:
    """Link objects into this process.

    Raises:
        ValueError: if one is no whole object for this architecture, they lack an entry point, or they need
            threads and there is no OpenMP runtime.
    """
    initialize_llvm()
    builder = llvm.JITLibraryBuilder()
    for code in codes:
        _require_object(code)
        builder.add_object_img(code)
    if any(b"GOMP_parallel" in code for code in codes):
        for name, address in load_openmp().addresses.items():
            builder.import_symbol(name, address)
    names = [f"{signature.symbol}_{part}" for part in ("run", "prepack")]
    for name in names:
        builder.export_symbol(name)
    library = _link(builder)
    run, prepack = (library[name] for name in names)
    bench = partial(_repeated, _repeat(), run)
    return NativeCode(library, _ENTRY(run), _ENTRY(prepack), bench)


def _link(builder: llvm.JITLibraryBuilder) -> Any:
    number = next(_library_numbers())
    linker = _linker(number // LIBRARIES_PER_LINKER)
    try:
        library = builder.add_current_process().link(linker, str(number))
    except RuntimeError as error:
        raise ValueError(f"LLVM cannot link it: {str(error).strip()}") from error
    library.linker = linker  # which must not be closed before
    return library


LIBRARIES_PER_LINKER = 256
"""LLVM keeps some kilobytes for each library that there ever was, and looks through them."""


@cache
def _library_numbers() -> Iterator[int]:
    return count()


@lru_cache(maxsize=1)
def _linker(number: int) -> llvm.LLJIT:
    """A new one for each number; the one before lives as long as its libraries."""
    return llvm.create_lljit_compiler(suppress_errors=True)


_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_REPEAT = """
define void @repeat(ptr %run, ptr %args, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void %run(ptr %args)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""


def _repeated(repeat: tuple[llvm.ExecutionEngine, Call], run: int, args: int, num_calls: int) -> None:
    """Holds on to the engine: threads that load their first kernels at once make one each."""
    repeat[1](run, args, num_calls)


@cache
def _repeat() -> tuple[llvm.ExecutionEngine, Call]:
    """Calls one function many times in a row; the same for all kernels, for LLVM takes its time over each."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_REPEAT), _machine())
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return engine, kind(engine.get_function_address("repeat"))


def _require_object(code: bytes) -> None:
    """LLVM ends the process over an object that it cannot read, so the outline is checked before."""
    if len(code) < ELF_HEADER_BYTES or not code.startswith(b"\x7fELF"):
        raise ValueError("it is no object in the ELF format")
    if code[:20] != _header_start():
        (machine,) = struct.unpack_from("<H", code, 18)
        raise ValueError(f"it is for another architecture (ELF machine {machine}) than {platform.machine()}")
    (sections_start,) = struct.unpack_from("<Q", code, 40)
    section_bytes, num_sections = struct.unpack_from("<HH", code, 58)
    if sections_start + section_bytes * num_sections > len(code):
        raise ValueError("it is cut short")


@cache
def _header_start() -> bytes:
    """How each object of this machine begins: word size, byte order, kind of file, architecture."""
    code: bytes = _machine().emit_object(llvm.parse_assembly(""))
    return code[:20]


def _machine() -> llvm.TargetMachine:
    return llvm.Target.from_default_triple().create_target_machine()
