"""Ctrl-C before ``launch`` takes over: the imports of a command take seconds. Imports nothing slow itself."""

from __future__ import annotations

import sys
from types import TracebackType

INTERRUPTED = 130
"""Exit code of a run that was interrupted, as shells have it: 128 + SIGINT."""


def end_quietly_when_interrupted() -> None:
    """From here on an interruption that nobody handles ends the process without a traceback."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            raise SystemExit(INTERRUPTED)
        sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook
