"""Names in generated code: readable, and each with one meaning."""

from __future__ import annotations

import keyword
import re

_RESERVED = {"tl", "triton", "torch", "pid", "range", "float", "out", *keyword.kwlist}


class Names:
    """Gives out names that are not taken."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = _RESERVED | taken

    def new(self, wanted: str) -> str:
        """The wanted name, with a number if it is taken."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def axis_of(variable: str) -> str:
    """What a loop variable of a schedule is called after: tiles have numbers, copies of nests suffixes.

    >>> [axis_of(name) for name in ("m1", "m1_out", "m_sum1", "kh", "y_sum_c")]
    ['m', 'm', 'm', 'kh', 'y_sum_c']
    """
    return re.sub(r"(_sum)?_?\d+(_\w+)?$", "", variable) or variable
