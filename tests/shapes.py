"""The run-time checker of array shapes that tests switch on (see conftest.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

Checked = TypeVar("Checked", bound=Callable[..., Any])

CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Takes a whole number for a float, as Python does."""


def checked(function: Checked) -> Checked:
    """The function with checked arguments and result; unchanged where a Protocol has no run-time check."""
    try:
        return CHECKER(function)
    except BeartypeDecorHintException:
        return function
