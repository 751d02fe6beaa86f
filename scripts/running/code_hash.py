"""Which of our code a result depends on, so that it is kept as long as that has not changed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def code_hash(*objects: object, package: str = "costmodel") -> str:
    """16 hex digits over the sources of the objects' classes and of all that these import from a package.

    A module counts if a class or function of it is a global of one that counts. A new module beside them
    changes nothing.
    """
    waiting = {type(each).__module__ for each in objects}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        owners = {str(getattr(value, "__module__", "")) for value in vars(sys.modules[name]).values()}
        waiting |= {owner for owner in owners if owner.startswith(f"{package}.")} - seen
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode())
        digest.update(Path(str(sys.modules[name].__file__)).read_bytes())
    return digest.hexdigest()[:16]


def folders_hash(root: Path, *folders: str) -> str:
    """16 hex digits over all sources in some folders of the project."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
