"""From LLVM IR text to a callable kernel."""

from __future__ import annotations

from functools import cache, lru_cache

import llvmlite.binding as llvm

from codegen.ir.loops import LoopProgram
from codegen.llvm.emit import cut_known, emit_piece, module_text
from codegen.llvm.entries import emit_entries
from codegen.llvm.kernel import Kernel
from codegen.llvm.native import initialize_llvm, load_objects
from codegen.llvm.pieces import Piece
from codegen.target import Target

CODEGEN_LEVEL = 2
"""LLVM's code generator at level 1 saves a tenth of the time and spills accumulators."""


def compile_program(loops: LoopProgram, target: Target) -> Kernel:
    """Build a kernel for this machine.

    Args:
        loops: a program whose Ints are all plain ints.
        target: must describe a CPU whose instructions this one has.

    Raises:
        ValueError: if the program has unknown Ints, or needs threads and there is no OpenMP runtime.
    """
    cut, signature = cut_known(loops, target)
    entries = emit_entries(cut)
    codes = [_piece_object(piece, target) for piece in cut.pieces]
    codes.append(_text_object(module_text(entries, target), target))
    return Kernel(signature, target, load_objects(tuple(codes), signature), loops)


def forget_objects() -> None:
    """Compile everything anew from here on, as in a new process; kernels that there are stay."""
    _piece_object.cache_clear()
    _text_object.cache_clear()


@lru_cache(maxsize=256)
def _piece_object(piece: Piece, target: Target) -> bytes:
    """What many candidates have in common is made once; a few kilobytes each."""
    return compile_object(module_text(emit_piece(piece, target), target), target)


@lru_cache(maxsize=256)
def _text_object(text: str, target: Target) -> bytes:
    return compile_object(text, target)


def compile_object(text: str, target: Target) -> bytes:
    """Machine code of a module as a relocatable object file.

    No optimisation pass runs before the code generator: the text already is what should run, and the
    generator's own passes (strength reduction, scheduling, register allocation) do the rest.
    """
    with llvm.parse_assembly(text) as parsed:
        code: bytes = target_machine(target).emit_object(parsed)
    return code


def compile_assembly(text: str, target: Target) -> str:
    """The same as assembly text, to be read."""
    with llvm.parse_assembly(text) as parsed:
        assembly: str = target_machine(target).emit_assembly(parsed)
    return assembly


def target_machine(target: Target) -> llvm.TargetMachine:
    """LLVM's view of a target, made once for each."""
    return _machine(target.llvm_cpu, target.llvm_features)


@cache
def _machine(cpu: str, features: str) -> llvm.TargetMachine:
    initialize_llvm()
    triple = llvm.Target.from_default_triple()
    return triple.create_target_machine(cpu, features, CODEGEN_LEVEL, reloc="pic", codemodel="small")
