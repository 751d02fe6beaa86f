"""Runs a script as from a shell, without the seconds that a new interpreter takes to import torch."""

from __future__ import annotations

import os
import runpy
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]


def run_script(name: str, folder: Path, *overrides: str) -> CompletedProcess[str]:
    """``python scripts/<name>.py <overrides>`` in a folder; its run folder is ``run``."""
    arguments = [str(ROOT / "scripts" / f"{name}.py"), *overrides, "hydra.run.dir=run"]
    out, err = StringIO(), StringIO()
    code = 0
    arguments_and_path = patch.multiple(sys, argv=arguments, path=list(sys.path))
    with (
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
        patch.dict(os.environ),
        arguments_and_path,
    ):
        try:
            runpy.run_path(arguments[0], run_name="__main__")
        except SystemExit as stop:
            code = int(stop.code or 0)
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
