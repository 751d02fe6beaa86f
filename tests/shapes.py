"""The run-time checker of array shapes that tests switch on (see conftest.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from beartype import beartype
from beartype.roar import BeartypeDecorHintException

Checked = TypeVar("Checked", bound=Callable[..., Any])


def checked(function: Checked) -> Checked:
    """The function with checked arguments and result; unchanged where a Protocol has no run-time check."""
    try:
        return beartype(function)
    except BeartypeDecorHintException:
        return function
