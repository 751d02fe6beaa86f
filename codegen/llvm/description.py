"""``kernel.json``: what a saved kernel is and how it is called, every value checked when it is read."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from codegen.ir.loops import Buffer, Scope
from codegen.llvm.signature import Signature
from codegen.target import Target

FORMAT = 2
"""Version of ``kernel.json``."""

FILES = ("loops.txt", "kernel.ll", "kernel.o")
"""What a folder holds beside ``kernel.json``, each with its SHA-256 there."""

JSON_KINDS: Mapping[type, str] = {
    int: "an integer",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "an object",
}

Value = TypeVar("Value")


@dataclass(frozen=True)
class Description:
    """``sha256`` is that of each of ``FILES``, by name."""

    signature: Signature
    target: Target
    sha256: Mapping[str, str]


def description_text(
    signature: Signature, target: Target, files: Mapping[str, bytes], metadata: Mapping[str, object]
) -> str:
    """``kernel.json`` for the contents of ``FILES``; TypeError if metadata is not JSON."""
    fields = {
        "format": FORMAT,
        "symbol": signature.symbol,
        "num_threads": signature.num_threads,
        "prepack_inputs": list(signature.prepack_inputs),
        "arguments": [
            {
                "name": buffer.name,
                "shape": list(buffer.shape),
                "scope": buffer.scope.value,
                "allocate_bytes": 4 * signature.allocated_elements(buffer),
            }
            for buffer in signature.arguments
        ],
        "user_shapes": {name: list(shape) for name, shape in signature.user_shapes.items()},
        "target": asdict(target),
        "target_fingerprint": target.fingerprint,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "metadata": dict(metadata),
    }
    return json.dumps(fields, indent=2) + "\n"


def read_description(folder: Path) -> Description:
    """What ``kernel.json`` in a folder says; ValueError, naming the first value that cannot be right."""
    path = folder / "kernel.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"no kernel in {folder}: {error}") from error
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"kernel.json in {folder} is damaged: {error}") from error
    version = fields.get("format") if isinstance(fields, dict) else None
    if version != FORMAT:
        raise ValueError(f"kernel.json in {folder} has format {version!r}, this version reads {FORMAT}")
    try:
        return Description(_signature(fields), _target(_of(fields, "target", dict)), _sha256(fields))
    except ValueError as error:
        raise ValueError(f"kernel.json in {folder} is damaged: {error}") from error


def _signature(fields: Mapping[str, Any]) -> Signature:
    entries = _of(fields, "arguments", list)
    arguments = tuple(map(_argument, entries))
    names = [buffer.name for buffer in arguments]
    if len(set(names)) < len(names) or [b.scope for b in arguments].count(Scope.OUTPUT) != 1:
        raise ValueError(f"arguments must have different names and one output, got {', '.join(names)}")
    inputs = [buffer.name for buffer in arguments if buffer.scope is Scope.INPUT]
    packs = _of(fields, "prepack_inputs", list)
    if not all(name in inputs for name in packs):
        raise ValueError(f"prepack_inputs must be among {', '.join(inputs)}, got {reprlib.repr(packs)}")
    num_threads = _of(fields, "num_threads", int)
    if num_threads < 1:
        raise ValueError(f"num_threads must be positive, got {num_threads}")
    user_shapes = {name: _shape(name, shape) for name, shape in _of(fields, "user_shapes", dict).items()}
    signature = Signature(_of(fields, "symbol", str), arguments, num_threads, tuple(packs), user_shapes)
    for entry, buffer in zip(entries, arguments, strict=True):
        wanted = 4 * signature.allocated_elements(buffer)
        if entry.get("allocate_bytes") != wanted:
            raise ValueError(
                f"{buffer.name} of shape {buffer.shape} takes {wanted} bytes, "
                f"allocate_bytes says {entry.get('allocate_bytes')!r}"
            )
    return signature


def _argument(entry: object) -> Buffer:
    if not isinstance(entry, dict):
        raise ValueError(f"an argument must be an object, got {reprlib.repr(entry)}")
    name, scope = _of(entry, "name", str), _of(entry, "scope", str)
    in_memory = [s.value for s in Scope if s not in (Scope.REGISTER, Scope.TABLE)]
    if scope not in in_memory:
        raise ValueError(f"scope of {name} must be one of {', '.join(in_memory)}, got {scope!r}")
    return Buffer(name, _shape(name, entry.get("shape")), Scope(scope))


def _shape(name: str, sizes: object) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"shape of {name} must be a list of positive integers, got {reprlib.repr(sizes)}")
    return tuple(sizes)


def _target(fields: Mapping[str, Any]) -> Target:
    kinds = get_type_hints(Target)
    unknown = sorted(fields.keys() - kinds.keys())
    if unknown:
        raise ValueError(f"target has no {unknown[0]}, only {', '.join(kinds)}")
    fields = {"bf16_dot": False, **fields}  # older kernels do not name it
    return Target(**{name: _of(fields, name, kind) for name, kind in kinds.items()})


def _sha256(fields: Mapping[str, Any]) -> dict[str, str]:
    digests = _of(fields, "sha256", dict)
    if set(digests) != set(FILES):
        raise ValueError(f"sha256 must name {', '.join(FILES)}, got {', '.join(digests) or 'nothing'}")
    return {name: _of(digests, name, str) for name in FILES}


def _of(fields: Mapping[str, Any], key: str, kind: type[Value]) -> Value:
    if key not in fields:
        raise ValueError(f"{key} is missing")
    value = fields[key]
    if type(value) is not kind:
        raise ValueError(f"{key} must be {JSON_KINDS[kind]}, got {reprlib.repr(value)}")
    return value
