"""The OpenMP runtime that compiled kernels call: the one torch uses, so that there is one thread pool."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

SYMBOLS = ("GOMP_parallel", "GOMP_barrier", "omp_get_thread_num", "omp_get_num_threads")


@dataclass(frozen=True)
class OpenMp:
    """A loaded runtime: the file it came from, and where its functions are."""

    path: str
    addresses: Mapping[str, int]


@cache
def load_openmp() -> OpenMp:
    """Load the runtime, once.

    Candidates in order: what an imported torch has loaded already (the same file, hence the same
    instance), the file inside an installed torch, which is not imported for it, the system's libgomp.

    Raises:
        ValueError: if there is none, with what to do instead.
    """
    tried = []
    for path in _candidates():
        try:
            library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            addresses = {name: _address(getattr(library, name)) for name in SYMBOLS}
        except (OSError, AttributeError):
            tried.append(path)
            continue
        return OpenMp(path, addresses)
    looked = ", ".join(tried) or "torch and the system libraries"
    raise ValueError(
        f"no OpenMP runtime found (looked at {looked}): install torch or libgomp, "
        "or use a target with num_threads=1"
    )


def has_openmp() -> bool:
    """Whether kernels of several threads can run here."""
    try:
        load_openmp()
    except ValueError:
        return False
    return True


def _address(function: Any) -> int:
    return cast(int, ctypes.cast(function, ctypes.c_void_p).value)


def _candidates() -> Iterator[str]:
    yield from _already_loaded()
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent
        for place in (folder / "lib", folder.parent / "torch.libs"):
            yield from (str(path) for path in sorted(place.glob("*gomp*.so*")))
    system = ctypes.util.find_library("gomp")
    if system:
        yield system


def _already_loaded() -> Iterator[str]:
    """Runtimes mapped by an imported torch; the loader gives the same instance for the same file."""
    maps = Path("/proc/self/maps")
    if "torch" not in sys.modules or not maps.exists():
        return
    paths = dict.fromkeys(line.split()[-1] for line in maps.read_text().splitlines() if "gomp" in line)
    # Other packages ship copies of their own: torch's comes first.
    yield from sorted(paths, key=lambda path: "torch" not in path)
