"""Whether records still mean what they meant: their programs and spaces as this version builds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codegen.gpu_device import gpu_device
from codegen.gpu_target import GpuTarget
from codegen.ops import make_operator
from codegen.schedule import Space, build_space
from codegen.schedule.errors import ScheduleError
from datasets.record import text_hash
from datasets.table import RecordTable, TaskTable


def find_disagreements(table: RecordTable) -> list[str]:
    """One sentence for each program or set of candidates that this version reads otherwise."""
    return [problem for task in table.tasks for problem in task_disagreements(task)]


def task_disagreements(task: TaskTable) -> Iterator[str]:
    """As ``find_disagreements``, for one task; the program decides before its candidates are looked at."""
    if task.program_text and text_hash(task.program_text) != task.program_hash:
        found = text_hash(task.program_text)
        yield f"task {task.label} has program hash {task.program_hash}, but its text has {found}"
        return
    try:
        program = make_operator(task.operator, task.parameters).program()
    except ValueError as error:
        yield f"task {task.label}: {error}"
        return
    if program.hash != task.program_hash:
        yield f"task {task.label} was program {task.program_hash}, its operator is now {program.hash}"
        return
    if isinstance(task.target, GpuTarget) and (problem := _unknown_device(task.target)):
        yield f"task {task.label}: {problem}"
        return
    outside = list(_outside(task, build_space(program, task.target)))
    if outside:
        yield (
            f"task {task.label}: {len(outside)} of {len(task)} candidates are not in its space, "
            f"first {outside[0]}"
        )


def _unknown_device(target: GpuTarget) -> str:
    """Why features of its candidates could not be made; empty if they can."""
    try:
        device = gpu_device(target.device)
    except ValueError as error:
        return str(error)
    return "" if device.arch == target.arch else f"{device.name} is {device.arch}, its target {target.arch}"


def _outside(task: TaskTable, space: Space[Any]) -> Iterator[str]:
    for row in range(len(task)):
        try:
            space.decode([task.named(row)])
        except ScheduleError as error:
            yield f"{task.named(row)}: {error}"
