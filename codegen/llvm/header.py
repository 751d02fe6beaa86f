"""The C interface of a kernel."""

from __future__ import annotations

from codegen.ir.loops import Buffer, Scope
from codegen.llvm.signature import Signature


def c_header(signature: Signature) -> str:
    """A C header that says how to call the shared library, with operands in the user's shapes."""
    symbol = signature.symbol
    guard = f"{symbol.upper()}_KERNEL_H"
    lines = [
        f"#ifndef {guard}",
        f"#define {guard}",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "/* buffers[i] is dense, row-major float32:",
        *(
            f"     {position}: {_declared(signature, buffer)}, {_role(signature, buffer)}"
            for position, buffer in enumerate(signature.arguments)
        ),
        "*/",
        f"void {symbol}_prepack(void **buffers); /* fills the packed buffers: once per set of weights */",
        f"void {symbol}_run(void **buffers); /* one call */",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _declared(signature: Signature, buffer: Buffer) -> str:
    return buffer.name + "".join(f"[{size}]" for size in signature.user_shape(buffer))


def _role(signature: Signature, buffer: Buffer) -> str:
    size = f"{4 * signature.allocated_elements(buffer)} bytes"
    if buffer.scope in (Scope.INPUT, Scope.OUTPUT):
        return f"{buffer.scope.value}, {size}"
    kind = "packed" if buffer.scope is Scope.PACKED else "workspace"
    return f"{kind}, allocated by the caller: {size}, aligned to 64"
