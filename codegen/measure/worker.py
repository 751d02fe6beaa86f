"""The measuring process: takes jobs from a pipe and answers with measurements.

Started by ``codegen.measure.process`` as ``python -m codegen.measure.worker``; of no use by hand.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection

from codegen.measure.channel import ChannelClosedError, Message, receive, send
from codegen.measure.config import MeasureConfig
from codegen.measure.gate import RUNNING
from codegen.measure.jobs import (
    Workbench,
    job_from_json,
    measurement_to_json,
    readings_from_json,
    readings_to_json,
)
from codegen.measure.trials import (
    Bench,
    Phase,
    TrialError,
    check_candidate,
    prepare_task,
    run_interleaved,
    run_trial,
)

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve one pipe until it closes. Arguments: its file descriptor, and the owner's process id."""
    connection = Connection(int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    # Ctrl-C reaches the whole process group; the owner decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(connection)
    except ChannelClosedError:
        return


def serve(connection: Connection) -> None:
    """Set up as the first message says, then answer requests; ChannelClosedError when the owner goes."""
    setup = _next_message(connection)
    config = MeasureConfig(**setup["config"])
    limit_memory(config.memory_bytes)

    def report_phase(phase: Phase, position: int) -> None:
        send(connection, {"event": "phase", "phase": phase, "position": position})
        if phase in RUNNING:
            _next_message(connection)  # the owner's leave: it has made the cores quiet

    readings = {key: readings_from_json(values) for key, values in setup["readings"].items()}
    workbench = _workbench_factory(setup["workbench"])(config)
    bench = Bench(config, workbench, report_phase, readings=readings)
    send(connection, {"event": "ready"})
    while True:
        send(connection, _answer(bench, _next_message(connection)))


def die_with_parent(parent_id: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_id:
        os._exit(1)  # the parent died before the call above


def limit_memory(memory_bytes: int) -> None:
    """Make allocations fail beyond this much private writable memory; leave no core files."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(bench: Bench, request: Message) -> Message:
    jobs = [job_from_json(fields) for fields in request["jobs"]]
    try:
        prepare_task(bench, jobs[0])
    except TrialError as error:
        is_mistake = isinstance(error.__cause__, ValueError)
        return {
            "event": "refusal",
            "message": str(error.__cause__) if is_mistake else error.failure.message,
            "is_mistake": is_mistake,
            "is_exhausted": bench.is_exhausted,
        }
    if request["only_check"]:
        failure = check_candidate(bench, jobs[0])
        return {
            "event": "result",
            "failure": None if failure is None else asdict(failure),
            "is_exhausted": bench.is_exhausted,
        }
    if request["num_rounds"] is None:
        measurements = [run_trial(bench, jobs[0], request["best_s"])]
    else:
        measurements = run_interleaved(bench, jobs, request["num_rounds"])
    return {
        "event": "result",
        "measurements": [measurement_to_json(measurement) for measurement in measurements],
        "readings": readings_to_json(bench.remembered(jobs[0])),
        "is_exhausted": bench.is_exhausted,
    }


def _next_message(connection: Connection) -> Message:
    message = receive(connection)
    assert message is not None  # without a time limit it waits
    return message


def _workbench_factory(path: str) -> Callable[[MeasureConfig], Workbench]:
    """The function named ``module:function``; the name comes from the code that starts the process."""
    module, _, name = path.partition(":")
    factory: Callable[[MeasureConfig], Workbench] = getattr(importlib.import_module(module), name)
    return factory


if __name__ == "__main__":
    main()
