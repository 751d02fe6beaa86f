"""Code for our own tools is compiled once, whoever asks, and lives as long as it is known."""

from __future__ import annotations

import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from codegen.ir.jit import Function, compile_function, compiled_once

ADD = """
define void @add(ptr %place, i64 %number) {
  %old = load i64, ptr %place
  %sum = add i64 %old, %number
  store i64 %sum, ptr %place
  ret void
}"""


def test_threads_that_ask_at_once_get_the_same_code() -> None:
    num_threads, num_compiled = 8, 0

    @compiled_once
    def adder(step: int) -> Function:
        nonlocal num_compiled
        num_compiled += 1
        time.sleep(0.02)  # so that all threads ask meanwhile
        return compile_function(ADD, "add", [ctypes.c_void_p, ctypes.c_int64])

    start = Barrier(num_threads)

    def ask(number: int) -> Function:
        start.wait()
        return adder(number % 2)

    with ThreadPoolExecutor(num_threads) as threads:
        functions = list(threads.map(ask, range(num_threads)))
    assert num_compiled == 2
    assert len({function.address for function in functions}) == 2
    total = ctypes.c_int64(1)
    for function in functions:
        function.call(ctypes.addressof(total), 5)
    assert total.value == 1 + 5 * num_threads


def test_what_is_no_code_is_refused() -> None:
    with pytest.raises(RuntimeError, match="parsing"):
        compile_function("define nothing", "nothing", [])
