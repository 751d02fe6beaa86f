"""Lists of tasks: what a network asks to compute, as ``tasks.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from datasets.files import replace_text
from datasets.record import JsonValue

_FIELDS = ("name", "operator", "parameters", "count")


@dataclass(frozen=True)
class Task:
    """An operator with its parameters; ``count`` says how often the network runs it."""

    name: str
    operator: str
    parameters: Mapping[str, JsonValue]
    count: int = 1

    def __post_init__(self) -> None:
        if not self.name or not self.operator:
            raise ValueError(f"a task needs a name and an operator, got {self.name!r} and {self.operator!r}")
        if self.count < 1:
            raise ValueError(f"count of task {self.name} must be positive, got {self.count}")


def load_tasks(path: Path) -> list[Task]:
    """Read a list of ``{name, operator, parameters, count}``; ``count`` may be left out.

    Raises:
        ValueError: the file is missing, no YAML or no such list; the entry and the field are named.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read tasks from {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read tasks from {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} must hold a list of tasks, got {type(entries).__name__}")
    tasks = [_task(entry, f"{path}, entry {position}") for position, entry in enumerate(entries, start=1)]
    names = [task.name for task in tasks]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path} names more than one task {', '.join(repeated)}")
    return tasks


def save_tasks(tasks: Sequence[Task], path: Path) -> None:
    """Write what ``load_tasks`` reads; the file appears whole or not at all."""
    entries = [
        {
            "name": task.name,
            "operator": task.operator,
            "parameters": dict(task.parameters),
            "count": task.count,
        }
        for task in tasks
    ]
    replace_text(path, yaml.safe_dump(entries, sort_keys=False))


def _task(entry: object, where: str) -> Task:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: a task is a mapping with {', '.join(_FIELDS)}, got {entry!r}")
    unknown = sorted(str(key) for key in entry if key not in _FIELDS)
    if unknown:
        raise ValueError(f"{where}: unknown field {', '.join(unknown)}; allowed are {', '.join(_FIELDS)}")
    name, operator = _text(entry, "name", where), _text(entry, "operator", where)
    parameters, count = entry.get("parameters"), entry.get("count", 1)
    if not isinstance(parameters, dict) or not all(isinstance(key, str) for key in parameters):
        raise ValueError(f"{where}: parameters must map names to values, got {parameters!r}")
    for key, value in parameters.items():
        if not _is_plain(value):
            raise ValueError(f"{where}: parameter {key} must be a number, text or list, got {value!r}")
    if type(count) is not int or count < 1:
        raise ValueError(f"{where}: count must be a positive whole number, got {count!r}")
    return Task(name, operator, parameters, count)


def _text(entry: Mapping[str, object], field: str, where: str) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}: {field} must be text, got {value!r}")
    return value


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))
