from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from codegen.measure.gate import Gate


def started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_closing_waits_until_the_worker_stands_still_and_opening_lets_it_go_on() -> None:
    gate, num_steps, is_over = Gate(), [0], threading.Event()

    def work() -> None:
        with gate.at_work():
            while not is_over.is_set():
                num_steps[0] += 1
                gate.pass_through()

    thread = started(work)
    for _ in range(20):
        gate.close()
        stood_at = num_steps[0]
        time.sleep(0.002)
        assert num_steps[0] == stood_at
        gate.open()
        while num_steps[0] == stood_at:
            time.sleep(0.0001)
    is_over.set()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_work_does_not_begin_behind_a_closed_gate() -> None:
    gate, has_begun = Gate(), threading.Event()

    def work() -> None:
        with gate.at_work():
            has_begun.set()

    gate.close()
    thread = started(work)
    assert not has_begun.wait(0.02)
    gate.open()
    thread.join(timeout=5)
    assert has_begun.is_set()


def test_closing_does_not_wait_for_work_that_is_over_or_has_failed() -> None:
    gate = Gate()
    gate.close()
    gate.open()
    with pytest.raises(RuntimeError), gate.at_work():
        raise RuntimeError("planning went wrong")
    gate.close()


def test_the_owner_may_pass_its_own_closed_gate() -> None:
    gate = Gate()
    gate.close()
    gate.pass_through()
