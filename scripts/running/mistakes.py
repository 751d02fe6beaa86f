"""One clear sentence for a user's mistake: the value that was given and what is allowed."""

from __future__ import annotations

import difflib
import re

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    ConfigTypeError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

_WANTED = {
    r"^Value '(?P<value>.*)' of type .* could not be converted to Float": "a number",
    r"^Value '(?P<value>.*)' of type .* could not be converted to Integer": "a whole number",
    r"^Value '(?P<value>.*)' is not a valid bool": "true or false",
    r"^field .* is not Optional": "given a value",
    r"is not a ListConfig, list or tuple": "a list, such as {key}=[one,two]",
    r"^Cannot merge DictConfig with": "names with values, such as {key}={{one:1,two:2}}",
    r"is not a subclass of": "set value by value, such as {key}.<name>=...",
}
"""What OmegaConf's messages about a value mean; ``value`` is where they quote it."""

_MISPLACED = r"^In '(.*)': \w+ raised while composing config:(?s:.*?)full_key: (\S+)"

_UNFIT = re.compile(r"(\w+) is not a subclass of (\w+)")
"""What OmegaConf says of an option of the wrong kind: the classes that it was given and wanted."""

_UNFIT_SENTENCES = {
    ("GpuTargetConfig", "TargetConfig"): (
        "target is a GPU, and this command needs a CPU: target=auto, avx512, avx2 or one_thread; "
        "tune.py, measure.py and benchmark.py suite=triton know GPUs"
    )
}


def sentence(error: BaseException) -> str:
    """The error in one line, without the type names and stack of the libraries that raised it."""
    unfit = _UNFIT.search(str(error))
    if unfit and (unfit[1], unfit[2]) in _UNFIT_SENTENCES:
        return _UNFIT_SENTENCES[unfit[1], unfit[2]]
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        return _of_config(cause, str(error).partition("Error merging override ")[2])
    if isinstance(error, OmegaConfBaseException):
        return _of_config(error)
    if isinstance(error, MissingConfigException):
        return _of_missing_option(error)
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}: {_first_line(error)}; put special characters into quotes"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if misplaced := re.search(_MISPLACED, str(error)):
        return f"configs/{misplaced[1]}.yaml sets {misplaced[2]}, which this command and its choices lack"
    return _one_line(str(error))


def _of_config(error: OmegaConfBaseException, override: str = "") -> str:
    """``override`` is what stood on the command line, where that is known."""
    key = error.full_key or error.key
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
        parent = error.parent_node
        allowed = sorted(str(name) for name in parent) if parent is not None else []
        return f"unknown key {key}; {_choices(str(error.key), allowed)}"
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value; give one with {key}=..."
    if isinstance(error, (ValidationError, ConfigTypeError)):
        return _of_value(f"{key}", _first_line(error), override.partition("=")[2])
    return _first_line(error)


def _of_value(key: str, message: str, given: str) -> str:
    """OmegaConf says of what type a value is; a person wants to know what it has to be."""
    for pattern, wanted in _WANTED.items():
        if found := re.search(pattern, message):
            value = found["value"] if "value" in found.groupdict() else given
            return f"{key} must be {wanted.format(key=key)}, got {value!r}"
    return f"{key}: {message}"


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
