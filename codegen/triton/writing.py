"""Lines of generated code."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

INDENT = "    "
_WIDTH = 96


def call(head: str, arguments: Sequence[str], tail: str = "") -> str:
    """A call or the head of a definition; one argument a line, and one condition, where it is long.

    >>> print(call("f", ["a", "b"], ":"))
    f(a, b):
    """
    line = f"{head}({', '.join(arguments)}){tail}"
    if len(line) <= _WIDTH:
        return line
    inside = "".join(f"{_folded(argument)},\n" for argument in arguments)
    return f"{head}(\n{textwrap.indent(inside, INDENT)}){tail}"


def _folded(argument: str) -> str:
    if len(argument) <= _WIDTH:
        return argument
    return argument.replace(" & ", f"\n{INDENT}& ")


def indented(lines: Sequence[str], depth: int = 1) -> list[str]:
    """Lines, or groups of them, further to the right."""
    return [textwrap.indent(line, INDENT * depth) for line in lines]
