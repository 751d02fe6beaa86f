"""One clear sentence for a user's mistake: the value that was given and what is allowed."""

from __future__ import annotations

import difflib

from hydra.errors import MissingConfigException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)


def sentence(error: BaseException) -> str:
    """The error in one line, without the type names and stack of the libraries that raised it."""
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        return _of_config(cause)
    if isinstance(error, OmegaConfBaseException):
        return _of_config(error)
    if isinstance(error, MissingConfigException):
        return _of_missing_option(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return _one_line(str(error))


def _of_config(error: OmegaConfBaseException) -> str:
    key = error.full_key or error.key
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
        parent = error.parent_node
        allowed = sorted(str(name) for name in parent) if parent is not None else []
        return f"unknown key {key}; {_choices(str(error.key), allowed)}"
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value; give one with {key}=..."
    if isinstance(error, ValidationError):
        return f"{key}: {_first_line(error)}"
    return _first_line(error)


def _of_missing_option(error: MissingConfigException) -> str:
    missing = error.missing_cfg_file or ""
    group, _, option = missing.rpartition("/")
    allowed = sorted(name for name in error.options or [] if not name.endswith("_schema"))
    if not group or not allowed:
        return _first_line(error)
    return f"there is no {group}={option}; {_choices(option, allowed)}"


def _choices(given: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(given, allowed, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed: {', '.join(allowed)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(text.split())
