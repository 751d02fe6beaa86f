"""Curves of a run: CSV, TensorBoard or wandb, one config group (``logger=``)."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Logger(Protocol):
    """Takes named values at a step; steps do not decrease."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...


class LoggerConfig(Protocol):
    """An option of the group ``logger``."""

    def open(self, folder: Path) -> AbstractContextManager[Logger]: ...


@dataclass(frozen=True, kw_only=True)
class CsvConfig:
    """Long form, one row per step and name: appending never needs to rewrite a header."""

    filename: str = "curves.csv"

    @contextmanager
    def open(self, folder: Path) -> Iterator[Logger]:
        with ExitStack() as files:
            yield _Csv(folder / self.filename, files)


@dataclass(frozen=True, kw_only=True)
class TensorBoardConfig:
    """Event files under ``subfolder`` of the run folder."""

    subfolder: str = "tensorboard"

    @contextmanager
    def open(self, folder: Path) -> Iterator[Logger]:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(folder / self.subfolder)) as writer:
            yield _TensorBoard(writer)


@dataclass(frozen=True, kw_only=True)
class WandbConfig:
    """Offline unless ``mode`` is set to online; offline runs are sent later with `wandb sync`."""

    project: str = "looprank"
    mode: str = "offline"

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online"):
            raise ValueError(f"logger.mode must be offline or online, got {self.mode!r}")

    @contextmanager
    def open(self, folder: Path) -> Iterator[Logger]:
        if importlib.util.find_spec("wandb") is None:
            raise ValueError(
                "logger=wandb needs the package wandb; install it or use logger=csv or tensorboard"
            )
        import wandb

        run = wandb.init(project=self.project, mode=self.mode, dir=str(folder))
        try:
            yield _Wandb(run)
        finally:
            run.finish()


class _Csv:
    """Opens its file with the first value: a run that ends before has not emptied that of an earlier one."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        self._path, self._files = path, files

    def log(self, step: int, values: Mapping[str, float]) -> None:
        csv.writer(self._file).writerows((step, name, value) for name, value in values.items())
        self._file.flush()  # so that a run can be watched, and one that is killed leaves its curve

    @cached_property
    def _file(self) -> TextIO:
        file = self._files.enter_context(self._path.open("w", newline=""))
        csv.writer(file).writerow(["step", "name", "value"])
        return file


@dataclass(frozen=True)
class _TensorBoard:
    writer: SummaryWriter

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


@dataclass(frozen=True)
class _Wandb:
    run: Any

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)
