"""What keeps a working thread away from the cores while a kernel is timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

RUNNING = ("probing", "waiting", "checking")
"""Phases around timing in which cores must be quiet: the measuring process waits for leave before each."""


class Gate:
    """Open at first. One thread works ``at_work`` and calls ``pass_through`` often; others ``close`` it.

    ``close`` returns when the worker stands still or has nothing to do, and from then on it does not move
    until ``open``.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_closed = False
        self._is_moving = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Around all work of the thread; begins when the gate is open."""
        with self._changed:
            self._wait_and_move()
        try:
            yield
        finally:
            self._set_moving(False)

    def pass_through(self) -> None:
        """Stand still here while the gate is closed. Outside ``at_work`` nothing waits for the caller."""
        with self._changed:
            if self._is_moving and self._is_closed:
                self._is_moving = False
                self._changed.notify_all()
                self._wait_and_move()

    def close(self) -> None:
        """Wait until the worker stands still; it stays so until ``open``."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._is_moving)

    def open(self) -> None:
        """Let the worker go on; harmless if it may."""
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()

    def _wait_and_move(self) -> None:
        self._changed.wait_for(lambda: not self._is_closed)
        self._is_moving = True

    def _set_moving(self, is_moving: bool) -> None:
        with self._changed:
            self._is_moving = is_moving
            self._changed.notify_all()
