"""What every script shares: a composed configuration in, one run folder with ``metrics.json`` out.

A user's mistake ends as one sentence on stderr and exit code 2; set HYDRA_FULL_ERROR=1 for the traceback.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

import hydra
import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from codegen.schedule.errors import ScheduleError
from scripts.running.choices import check_choices
from scripts.running.interruption import INTERRUPTED
from scripts.running.loggers import Logger
from scripts.running.mistakes import sentence
from scripts.running.outputs import Metrics, code_version, write_metrics, write_text
from scripts.running.schemas import reject_added_keys, store

ROOT = Path(__file__).resolve().parents[2]
ConfigT = TypeVar("ConfigT")
MISTAKE = 2
"""Exit code of a run that a user's mistake ended."""

NUM_SEEDS = 2**32
"""NumPy's global generator takes no others."""

USER_ERRORS = (ValueError, ScheduleError, OSError, HydraException, OmegaConfBaseException)


@dataclass(frozen=True)
class Run(Generic[ConfigT]):
    """One run of a script: its checked configuration, the folder it may write to, where its curves go."""

    config: ConfigT
    folder: Path
    logger: Logger


def launch(
    name: str,
    schema: type[ConfigT],
    work: Callable[[Run[ConfigT]], Metrics],
    configs: Path = ROOT / "configs",
    suites: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Compose ``<configs>/<name>.yaml`` under ``schema``, call ``work`` and write the metrics it returns.

    ``suites`` are those of each command that shares the group ``suite``.
    ``schema`` is a dataclass with the fields ``seed`` (int) and ``logger`` (a LoggerConfig). A mistake in
    one job of a sweep is told as the others go on, and the exit code is 2 when all are done.
    """
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints its own, longer account and exits with 1
    num_refused = 0

    def job(config: DictConfig) -> None:
        nonlocal num_refused
        hydra_config = HydraConfig.get()
        is_sweep = hydra_config.mode is RunMode.MULTIRUN
        where = f"job {hydra_config.job.num} ({hydra_config.job.override_dirname}): " if is_sweep else ""
        folder = Path(hydra_config.runtime.output_dir)
        try:
            with one_sentence(wants_traceback, where, None if is_sweep else folder):
                _run_once(config, folder, work)
        except SystemExit as stop:
            if not is_sweep or stop.code != MISTAKE:
                raise
            num_refused += 1

    with one_sentence(wants_traceback):
        _check_packages()
        check_choices(configs, name, sys.argv[1:], suites or {})
        store(f"{name}_schema", schema)
        hydra.main(version_base="1.3", config_path=str(configs), config_name=name)(job)()
    if num_refused:
        raise SystemExit(MISTAKE)


@contextmanager
def one_sentence(
    wants_traceback: bool = False, where: str = "", folder: Path | None = None
) -> Iterator[None]:
    """Turn a user's mistake into one line on stderr and exit code 2; other errors pass.

    An interruption ends with exit code ``INTERRUPTED``, and says how to go on in the run's ``folder``.
    """
    try:
        yield
    except USER_ERRORS as error:
        if wants_traceback:
            raise
        print(f"error: {where}{sentence(error)}", file=sys.stderr)
        raise SystemExit(MISTAKE) from None
    except KeyboardInterrupt:
        command = f"; the same command with hydra.run.dir={_short(folder)} goes on" if folder else ""
        print(f"stopped; what was finished is kept{command}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _short(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _run_once(config: DictConfig, folder: Path, work: Callable[[Run[Any]], Metrics]) -> None:
    reject_added_keys(config)
    settings: Any = OmegaConf.to_object(config)
    if not 0 <= settings.seed < NUM_SEEDS:
        raise ValueError(f"seed must be from 0 to {NUM_SEEDS - 1}, got {settings.seed}")
    random.seed(settings.seed)
    np.random.seed(settings.seed)  # noqa: NPY002 - for libraries that take no generator
    torch.manual_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    with _described(folder / "config.yaml", config), settings.logger.open(folder) as logger:
        metrics = work(Run(settings, folder, logger))
    stamp = {"seed": settings.seed, "code_version": code_version(ROOT)}
    write_metrics(folder / "metrics.json", {**metrics, **stamp})


@contextmanager
def _described(path: Path, config: DictConfig) -> Iterator[None]:
    """Write the configuration; a mistake leaves that of an earlier run in the folder as it was."""
    earlier = path.read_text() if path.exists() else None
    write_text(path, OmegaConf.to_yaml(config, resolve=True))
    try:
        yield
    except USER_ERRORS:
        if earlier is not None:
            write_text(path, earlier)
        raise


def _check_packages() -> None:
    """Another installed package is also called `datasets`; ours must be the one that is found."""
    for name in ("codegen", "datasets", "costmodel", "search"):
        spec = find_spec(name)
        found = spec.origin if spec else None
        if found is None or Path(found).resolve().parent != ROOT / name:
            raise ValueError(f"package {name} must come from {ROOT / name}, but Python finds {found}")
