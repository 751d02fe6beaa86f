"""Two versions of a loop nest: one for full tiles without guards, one for the tails."""

from __future__ import annotations

from collections.abc import Callable

from codegen.llvm.address import compared, conjunction
from codegen.llvm.control import emit_branch
from codegen.llvm.linear import Mode, Terms
from codegen.llvm.plan import PlannedGuard, PlannedLoop
from codegen.llvm.writer import Writer


def emit_versions(writer: Writer, loop: PlannedLoop, emit: Callable[[], None]) -> None:
    """Emit a loop twice if guards inside that cost something can be decided here, for all its iterations.

    A guard is decided where the runtime variables it depends on are known: outside of it only
    unrolled and vector loops remain, whose last iterations are the ones to test. Runtime loops inside
    are repeated only if nothing but the guarded statements is in them.
    """
    if not loop.costly or not _is_chain(loop):
        emit()
        return
    decidable: list[PlannedGuard] = []
    conditions: list[str] = []
    for guard in loop.costly:
        if writer.width > 1 or guard.identifier in writer.proven or guard.identifier in writer.doubted:
            continue
        condition = _always_holds(writer, guard)
        if condition is True:
            decidable.append(guard)
        elif isinstance(condition, str):
            decidable.append(guard)
            conditions.append(condition)
    if not decidable:
        emit()
        return
    identifiers = {guard.identifier for guard in decidable}
    if not conditions:
        _with_proven(writer, identifiers, emit)
        return
    distinct = list(dict.fromkeys(conditions))
    refuted = set(distinct) if len(distinct) == 1 else set()
    emit_branch(
        writer,
        conjunction(writer, distinct, "i1"),
        lambda: _with_proven(writer, identifiers, emit),
        lambda: _with_doubted(writer, identifiers, refuted, emit),
    )


def _is_chain(loop: PlannedLoop) -> bool:
    """Whether runtime loops lead straight to one nest of unrolled and vector loops."""
    while loop.variable.mode is Mode.RUNTIME:
        if len(loop.body) != 1 or not isinstance(loop.body[0], PlannedLoop):
            return False
        loop = loop.body[0]
    return True


def _always_holds(writer: Writer, guard: PlannedGuard) -> str | bool | None:
    """Condition that a guard holds for the last iterations of the loops still to be opened.

    None if a runtime loop that it depends on is among those; False if it fails whatever the outer
    loops do, so that only one version would ever run.
    """
    most = guard.index.constant
    runtime: list[tuple[int, str, int]] = []
    reach = 0
    for variable, coefficient in guard.terms:
        name = variable.name
        if name in writer.names:
            runtime.append((variable.depth, name, coefficient))
            most += coefficient * writer.offsets[name]
            reach += max(0, coefficient * variable.last_start)
        elif name in writer.offsets:
            most += coefficient * writer.offsets[name]
        elif variable.mode is Mode.RUNTIME:
            return None
        else:
            most += max(0, coefficient * (variable.extent - 1))
    terms: Terms = tuple((name, coefficient) for _, name, coefficient in sorted(runtime))
    if not terms:
        return most < guard.bound
    if most + reach < guard.bound:
        return True
    return compared(writer, "slt", terms, guard.bound - most)


def _with_proven(writer: Writer, identifiers: set[tuple[int, int]], emit: Callable[[], None]) -> None:
    added = identifiers - writer.proven
    writer.proven |= added
    emit()
    writer.proven -= added


def _with_doubted(
    writer: Writer, identifiers: set[tuple[int, int]], refuted: set[str], emit: Callable[[], None]
) -> None:
    """``refuted`` are the conditions known to fail: copies under one of them are left out."""
    added = identifiers - writer.doubted
    writer.doubted |= added
    writer.refuted |= refuted
    emit()
    writer.refuted -= refuted
    writer.doubted -= added
