"""The steps of a schedule in logs of Ansor: what those of a sketch share, and the numbers that each chose.

As src/auto_scheduler/transform_step.cc of TVM writes them, each a list: its kind, a stage and its fields.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from datasets.recorded_json import shown

Structure: TypeAlias = tuple[tuple[Any, ...], ...]
"""Kind and stage of each step, and what else is not chosen in it."""

ANNOTATIONS = (
    "none",
    "unroll",
    "vectorize",
    "parallel",
    "vthread",
    "blockIdx.x",
    "threadIdx.x",
    "blockIdx.y",
    "threadIdx.y",
    "blockIdx.z",
    "threadIdx.z",
    "tensorize",
)

_FIELDS = {
    "AN": "ii",  # annotate: loop, annotation
    "FU": "l",  # fuse: loops
    "PR": "iw",  # pragma: loop, name$number
    "RE": "l",  # reorder: loops
    "SP": "iili",  # split: loop, extent, lengths, whether these are the inner ones
    "FSP": "iii",  # split as another step does: loop, that step, number of parts
    "FFSP": "ilii",  # split as other steps do together: loop, those steps, level, whether it is a factor
    "SA": "iii",  # align storage: loop, factor, offset
    "CA": "ii",  # compute at: stage, loop of it
    "CI": "",  # compute inline
    "CR": "",  # compute at the root
    "CHR": "wl",  # cache reads: scope, stages that read
    "CHW": "w",  # cache writes: scope
    "RF": "ii",  # reduce in parts: loop, place of the new one
}
"""What a step has after its kind and stage: whole numbers (i), lists of them (l) and words (w)."""

_FIELD_WORDS = {"i": "a whole number", "l": "a list of whole numbers", "w": "a word"}

_KNOBS = {
    "SP": ("split", ()),
    "AN": ("annotation", ("", "_loop")),
    "FU": ("fuse", ("", "_loop")),
    "PR": ("pragma", ("", "_loop")),
    "CA": ("at", ("_loop",)),
}
"""Steps that choose: how their knobs begin, and how they end; those of a split end in places of lengths."""


def take_apart(steps: Sequence[object]) -> tuple[Structure, bytes]:
    """What a schedule shares with all of its sketch, and what it chose, as C integers.

    Raises:
        ValueError: a step is none, or has a number too large for one; its place among them is named.
    """
    structure, choices = [], array("i")
    for place, step in enumerate(steps):
        try:
            fixed, chosen = _parts(step)
            choices.extend(chosen)
        except ValueError as error:
            raise ValueError(f"step {place}: {error}") from None
        except OverflowError:
            raise ValueError(f"step {place}: numbers must be below 2**31, as TVM's are") from None
        structure.append(fixed)
    return tuple(structure), choices.tobytes()


def knob_names(structure: Structure) -> Iterator[str]:
    """What the choices are called, in their order.

    >>> list(knob_names((("SP", 2, 3, 0, 1), ("FU", 2), ("SP", 2, 1, 4, 1), ("CA", 2, 3))))[:5]
    ['split_2_0_0', 'split_2_0_1', 'split_2_0_2', 'fuse_2_0', 'fuse_2_0_loop']
    """
    num_before: Counter[tuple[str, int]] = Counter()
    for kind, stage, *rest in structure:
        if kind not in _KNOBS:
            continue
        word, ends = _KNOBS[kind]
        lengths = [f"_{place}" for place in range(rest[0])] if kind == "SP" else []
        yield from (f"{word}_{stage}_{num_before[kind, stage]}{end}" for end in (*ends, *lengths))
        num_before[kind, stage] += 1


def is_loop(knob: str) -> bool:
    """Whether it counts loops, from 0."""
    return knob.endswith("_loop")


def is_annotation(knob: str) -> bool:
    """Whether its numbers are places in ``ANNOTATIONS``."""
    return knob.startswith("annotation_") and not is_loop(knob)


def _parts(step: object) -> tuple[tuple[Any, ...], list[int]]:
    """Of one step: kind, stage and what else is fixed; and the numbers that it chose, as in ``_KNOBS``.

    The extent of a split is neither, as it follows from the workload and the other steps.
    """
    kind, stage, *values = _checked(step)
    match kind, values:
        case "SP", [loop, _, lengths, is_inner]:
            return (kind, stage, len(lengths), loop, is_inner), lengths
        case "AN", [loop, annotation]:
            if not 0 <= annotation < len(ANNOTATIONS):
                raise ValueError(f"an annotation must be in 0 to {len(ANNOTATIONS) - 1}, got {annotation}")
            return (kind, stage), [annotation, loop]
        case "FU", [loops]:
            if any(after != before + 1 for before, after in pairwise(loops)):
                raise ValueError("loops to fuse must be next to each other")
            # None are fused where a stage has no loops: TVM so gives a scalar one, of extent 1.
            return (kind, stage), [len(loops), loops[0] if loops else -1]
        case "PR", [loop, pragma]:
            name, _, number = pragma.partition("$")
            is_number = re.fullmatch("[0-9]{1,9}", number) is not None
            return (kind, stage, name if is_number else pragma), [int(number) if is_number else 0, loop]
        case "CA", [other, loop]:
            return (kind, stage, other), [loop]
    return (kind, stage, *(tuple(each) if isinstance(each, list) else each for each in values)), []


def _checked(step: object) -> list[Any]:
    if not (isinstance(step, list) and step and isinstance(step[0], str) and step[0] in _FIELDS):
        found = shown(step[0] if isinstance(step, list) and step else step)
        raise ValueError(f"it must be a list that begins with one of {', '.join(_FIELDS)}, got {found}")
    fields = f"i{_FIELDS[step[0]]}"
    if len(step) != len(fields) + 1 or not all(map(_is_a, step[1:], fields)):
        words = ", ".join(_FIELD_WORDS[kind] for kind in fields)
        raise ValueError(f"after {step[0]} there must be {words}")
    return step


def _is_a(value: object, kind: str) -> bool:
    if kind == "l":
        return isinstance(value, list) and all(type(each) is int for each in value)
    return type(value) is (int if kind == "i" else str)
