"""Which of our code a result depends on, so that it is kept as long as that has not changed."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def code_hash(*objects: object, modules: Iterable[ModuleType] = (), package: str = "costmodel") -> str:
    """16 hex digits over sources: of the objects' classes, what these import from a package, and ``modules``.

    What the latter import does not count. A new module beside those that count changes nothing.
    """
    waiting = {type(each).__module__ for each in objects}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= set(_imported(_source(name), package)) - seen
    digest = hashlib.sha256()
    for name in sorted(seen | {module.__name__ for module in modules}):
        digest.update(name.encode())
        digest.update(_source(name))
    return digest.hexdigest()[:16]


def folders_hash(root: Path, *folders: str) -> str:
    """16 hex digits over all sources in some folders of the project."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _source(module: str) -> bytes:
    loaded = sys.modules.get(module)
    file = loaded.__file__ if loaded is not None else _file(module)
    return Path(str(file)).read_bytes()


def _imported(source: bytes, package: str) -> Iterator[str]:
    """The modules of a package that a source imports, wherever in it and whatever of them, by name."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.startswith(f"{package}.") and _file(name))


@cache
def _file(module: str) -> str | None:
    """Where a module is; None if what the name stands for is none."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # a class or a function of a module
        return None
    return spec.origin if spec is not None else None
