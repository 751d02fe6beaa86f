"""The owner's side of one measuring process: start it, talk to it under a time limit, kill it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import IO

from codegen.measure.channel import ChannelClosedError, Message, receive, send
from codegen.measure.config import MeasureConfig
from codegen.measure.gate import RUNNING, Gate
from codegen.measure.jobs import readings_to_json
from codegen.measure.steadiness import Reading

PROJECT_ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0
MAX_STDERR_BYTES = 4096


@dataclass(frozen=True)
class WorkerSetup:
    """What a process is started with.

    ``workbench`` names a function ``module:function`` that takes a MeasureConfig and returns a Workbench;
    ``search_path`` are folders to import it from, besides the project itself; ``environment`` are variables
    that it finds set; ``readings`` by fingerprint of a target are what an earlier process remembered of the
    machine.
    """

    config: MeasureConfig
    workbench: str
    search_path: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    readings: Mapping[str, Sequence[Reading]] = field(default_factory=dict)

    def message(self) -> Message:
        """What the process reads first."""
        readings = {key: readings_to_json(values) for key, values in self.readings.items()}
        return {"config": asdict(self.config), "workbench": self.workbench, "readings": readings}


class LostWorkerError(Exception):
    """The process did not answer: it died, or was killed at its time limit.

    ``phase`` and ``position`` tell what it was doing with which job. ``is_timeout`` tells which; the
    message has the signal's name or the limit, and the last line that the process wrote to stderr since
    it was asked.
    """

    def __init__(self, message: str, *, is_timeout: bool, phase: str, position: int) -> None:
        super().__init__(message)
        self.is_timeout = is_timeout
        self.phase = phase
        self.position = position


class WorkerProcess:
    """A running process; ``close`` ends it. It also ends when the thread that started it does.

    Started by executing the interpreter anew rather than by forking or by ``multiprocessing``'s spawn:
    neither the caller's threads nor its main module (which may import torch) get into it. ``gate`` is
    closed while the process runs a kernel, not while it builds one.
    """

    def __init__(self, setup: WorkerSetup, gate: Gate) -> None:
        self._config = setup.config
        self._gate = gate
        self._connection, far_end = Pipe(duplex=True)
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._num_old_bytes = 0
        arguments = [str(far_end.fileno()), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "codegen.measure.worker", *arguments],
                pass_fds=[far_end.fileno()],
                env={**os.environ, **setup.environment, "PYTHONPATH": _python_path(setup)},
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
            )
        finally:
            far_end.close()
        try:
            send(self._connection, setup.message())
            answer = receive(self._connection, START_TIMEOUT_S)
        except ChannelClosedError:
            answer = None
        if answer is None:
            self._process.kill()
            self._process.wait()
            last_words = self._last_words()
            self.close()
            raise RuntimeError(f"the measuring process did not start{last_words}")

    @property
    def process_id(self) -> int:
        """Of the running process."""
        return self._process.pid

    def close(self) -> None:
        """Kill the process and wait until it is gone; harmless if it is."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._stderr.close()

    def ask(
        self,
        jobs: Sequence[Message],
        best_s: float | None,
        num_rounds: int | None,
        *,
        only_check: bool = False,
    ) -> Message:
        """Have jobs measured: one alone, or several interleaved in ``num_rounds`` rounds; or one checked.

        The time limit holds for a job that is measured alone, and for every step of an interleaved one;
        waiting for a steady machine does not count.

        Raises:
            LostWorkerError: no answer; the process is gone then.
        """
        self._num_old_bytes = self._num_stderr_bytes()
        phase, position, wait_start_s = "preparing", 0, 0.0
        deadline_s = time.monotonic() + self._config.prepare_timeout_s
        try:
            request = {"best_s": best_s, "num_rounds": num_rounds, "only_check": only_check}
            send(self._connection, {"jobs": list(jobs), **request})
            while True:
                message = receive(self._connection, deadline_s - time.monotonic())
                if message is None:
                    raise self._timeout(phase, position)
                if message["event"] != "phase":
                    return message
                if phase == "waiting":  # what it has not waited is taken back
                    deadline_s -= max(0.0, self._config.steady_wait_s - (time.monotonic() - wait_start_s))
                phase, position = message["phase"], message["position"]
                if phase == "building" or (num_rounds is not None and phase != "preparing"):
                    deadline_s = time.monotonic() + self._config.timeout_s
                if phase in RUNNING:
                    deadline_s += self._give_leave()
                if phase == "waiting":
                    deadline_s += self._config.steady_wait_s
                    wait_start_s = time.monotonic()
        except ChannelClosedError as error:
            raise self._death(phase, position) from error
        finally:
            self._gate.open()

    def _give_leave(self) -> float:
        """Let the process go on as soon as nothing of ours runs; the seconds that it waited."""
        start_s = time.monotonic()
        self._gate.close()
        send(self._connection, {"event": "leave"})
        return time.monotonic() - start_s

    def _timeout(self, phase: str, position: int) -> LostWorkerError:
        self.close()
        limit_s = self._config.prepare_timeout_s if phase == "preparing" else self._config.timeout_s
        message = f"killed after {limit_s:g} s while {phase}"
        return LostWorkerError(message, is_timeout=True, phase=phase, position=position)

    def _death(self, phase: str, position: int) -> LostWorkerError:
        # It has closed its end of the pipe, so it is about to be gone.
        code = self._process.wait()
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        message = f"worker {how} while {phase}{self._last_words()}"
        self.close()
        return LostWorkerError(message, is_timeout=False, phase=phase, position=position)

    def _last_words(self) -> str:
        self._stderr.seek(max(self._num_old_bytes, self._num_stderr_bytes() - MAX_STDERR_BYTES))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].strip()[:300]}" if lines else ""

    def _num_stderr_bytes(self) -> int:
        # The process writes at the file's position, which it shares with us: seeking would move it.
        return os.fstat(self._stderr.fileno()).st_size


def _python_path(setup: WorkerSetup) -> str:
    """The project comes first, and what the user has set stays."""
    folders = (str(PROJECT_ROOT), *setup.search_path, os.environ.get("PYTHONPATH"))
    return os.pathsep.join(filter(None, folders))
