"""Ctrl-C before ``launch`` takes over: the imports of a command take seconds. Imports nothing slow itself."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType

INTERRUPTED = 130
"""Exit code of a run that was interrupted, as shells have it: 128 + SIGINT."""


def end_quietly_when_interrupted() -> None:
    """From here on an interruption that nobody handles ends the process without a traceback.

    Also if a library made another error of it: NumPy's import tells of a bad installation.
    """
    is_interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        signal.default_int_handler(number, frame)

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if is_interrupted or issubclass(kind, KeyboardInterrupt):
            raise SystemExit(INTERRUPTED)
        sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
