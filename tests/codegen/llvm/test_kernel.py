"""Calling kernels: by position, by name, bound, prepared; wrong arguments get one clear sentence."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest

from codegen.ir.affine import variable as var
from codegen.ir.loops import Buffer, LoopProgram, Scope
from codegen.llvm.build import compile_program
from codegen.llvm.emit import emit_module
from codegen.llvm.kernel import Kernel
from tests.codegen.llvm.loop_building import (
    at,
    binary,
    load,
    program,
    runnable_target,
    some_inputs,
    store,
    vector,
)
from tests.codegen.llvm.tiled_programs import tiled_matmul


@pytest.fixture(scope="module")
def matmul() -> Kernel:
    return compile_program(tiled_matmul(9, 20, 5, 4, 16, 5), runnable_target(8))


@pytest.fixture(scope="module")
def operands(matmul: Kernel) -> dict[str, np.ndarray]:
    assert matmul.loops is not None
    return some_inputs(matmul.loops)


def test_all_ways_to_call_agree(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    a, b = operands["a"], operands["b"]
    out = np.empty((9, 20), np.float32)
    bound = matmul.bind(b=b)
    results = [matmul(a, b), matmul(a, b=b), matmul(b=b, a=a), bound(a), bound(a, out=out)]
    assert results[-1] is out
    prepared_out = np.empty((9, 20), np.float32)
    bound.prepare(a, out=prepared_out)()
    for result in [*results, prepared_out]:
        np.testing.assert_array_equal(result, a @ b)


def test_new_outputs_start_on_a_cache_line(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    results = [matmul(**operands) for _ in range(9)]
    assert {result.ctypes.data % 64 for result in results} == {0}
    assert all(result.flags.c_contiguous and result.flags.writeable for result in results)
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in operands.items()}
    assert {matmul(**tensors).data_ptr() % 64 for _ in range(9)} == {0}


def test_constants_are_packed_when_they_are_bound(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    a, b = operands["a"], operands["b"].copy()
    bound = matmul.bind(b=b)
    expected = a @ b
    b[:] = 0
    np.testing.assert_array_equal(bound(a), expected)


def test_constants_that_are_not_bound_are_packed_in_each_run(
    matmul: Kernel, operands: dict[str, np.ndarray]
) -> None:
    a, b = operands["a"], operands["b"]
    bound = matmul.bind(a=a)
    assert [buffer.name for buffer in bound.free] == ["b"]
    np.testing.assert_array_equal(bound(b), a @ b)
    np.testing.assert_array_equal(bound(2 * b), a @ (2 * b))


def test_a_prepared_call_packs_what_is_not_bound(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    a, b = operands["a"], operands["b"].copy()
    out = np.empty((9, 20), np.float32)
    call = matmul.bind(a=a).prepare(b, out=out)
    b *= 2
    call()
    np.testing.assert_array_equal(out, a @ b)


def test_tensors_give_tensors(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    a, b = (torch.from_numpy(operands[name]) for name in "ab")
    for result in (matmul(a, b), matmul.bind(b=operands["b"])(a), matmul.bind(a=a, b=b)()):
        assert isinstance(result, torch.Tensor)
        assert torch.equal(result, a @ b)


def test_a_changed_tensor_is_looked_at_again(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    a, b = (torch.from_numpy(operands[name]) for name in "ab")
    bound = matmul.bind(b=b)
    bound(a)
    a.set_((3 * a).contiguous())
    assert torch.equal(bound(a), a @ b)


def test_a_prepared_or_bound_tensor_may_be_given_other_memory() -> None:
    torch = pytest.importorskip("torch")
    loops = program(
        {"x": (Scope.INPUT, (16,)), "w": (Scope.INPUT, (16,)), "y": (Scope.OUTPUT, (16,))},
        vector("v", 16, store("y", at("v"), binary("add", load("x", "v"), load("w", "v")))),
    )
    x, w, y = torch.ones(16), torch.ones(16), torch.zeros(16)
    call = compile_program(loops, runnable_target(8)).bind(w=w).prepare(x, out=y)
    view = y.detach()
    for tensor in (x, w, y):
        tensor.set_(torch.zeros(1))
    gc.collect()
    call()
    assert view.tolist() == [2.0] * 16


def test_new_tensors_are_float32_on_the_cpu_whatever_the_default(
    matmul: Kernel, operands: dict[str, np.ndarray]
) -> None:
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    try:
        result = matmul(*(torch.from_numpy(operands[name]) for name in "ab"))
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(result.numpy(), operands["a"] @ operands["b"])


def test_users_may_know_operands_by_other_shapes(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    a, b = operands["a"], operands["b"]
    users = matmul.with_user_shapes({"a": (3, 3, 5), "y": (1, 9, 4, 5)})
    for given in (a, a.reshape(3, 3, 5)):
        result = users(given, b)
        assert result.shape == (1, 9, 4, 5)
        np.testing.assert_array_equal(result.reshape(9, 20), a @ b)
    for shape in ((9, 20), (1, 9, 4, 5)):
        out = np.empty(shape, np.float32)
        assert users.bind(b=b)(a, out=out) is out
        np.testing.assert_array_equal(out.reshape(9, 20), a @ b)
    with pytest.raises(ValueError, match=r"a must have shape \(3, 3, 5\) or \(9, 5\), got \(5, 9\)"):
        users(np.zeros((5, 9), np.float32), b)
    assert matmul(a, b).shape == (9, 20)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"packed": (2, 5, 16)}, "user_shapes may name a, b, y, got packed"),
        ({"a": (9, 6)}, r"a has 45 elements, user_shapes gives it the shape \(9, 6\)"),
        ({"a": (-9, -5)}, r"a has 45 elements, user_shapes gives it the shape \(-9, -5\)"),
    ],
)
def test_user_shapes_are_of_the_same_bytes(
    matmul: Kernel, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        matmul.with_user_shapes(shapes)


def _transposed(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a.T).T


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:8], r"a must have shape \(9, 5\), got \(8, 5\)"),
        (lambda a: a.astype(np.float64), "a must be float32, got float64"),
        (_transposed, "a must be C-contiguous"),
        (lambda a: a.tolist(), "a must be a numpy array or a torch tensor, got list"),
    ],
)
def test_wrong_arrays_are_named(
    matmul: Kernel, operands: dict[str, np.ndarray], change: object, message: str
) -> None:
    wrong = change(operands["a"])  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        matmul(wrong, operands["b"])
    with pytest.raises(ValueError, match=message):
        matmul.bind(b=operands["b"])(wrong)


def test_wrong_tensors_are_named(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    for wrong, message in (
        (torch.zeros(9, 5, dtype=torch.float64), "float32"),
        (torch.zeros(5, 9).t(), "C-contiguous"),
        (torch.zeros(9, 5, device="meta"), "on the CPU"),
        (torch.zeros(9, 5).to_sparse(), "a must be a dense tensor, got torch.sparse_coo"),
    ):
        with pytest.raises(ValueError, match=message):
            matmul(wrong, operands["b"])


def test_wrong_calls_are_explained(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    a, b = operands["a"], operands["b"]
    with pytest.raises(ValueError, match="takes 2 inputs, got 3"):
        matmul(a, b, a)
    with pytest.raises(ValueError, match="a is given twice"):
        matmul(a, a=a)
    with pytest.raises(ValueError, match="needs a value for b"):
        matmul(a)
    with pytest.raises(ValueError, match="no input w, only a, b"):
        matmul.bind(w=b)
    with pytest.raises(ValueError, match="takes a, got 0 arrays"):
        matmul.bind(b=b)()
    with pytest.raises(ValueError, match="num_calls must be positive, got 0"):
        matmul.bind(b=b).time_calls(0, a, out=np.empty((9, 20), np.float32))


def test_an_output_over_an_input_is_refused() -> None:
    loops = program(
        {"x": (Scope.INPUT, (16,)), "y": (Scope.OUTPUT, (16,))},
        vector("v", 16, store("y", at("v"), load("x", "v"))),
    )
    memory = np.zeros(40, np.float32)
    bound = compile_program(loops, runnable_target(8)).bind()
    for _ in range(2):
        with pytest.raises(ValueError, match="out must not overlap the input x"):
            bound(memory[:16], out=memory[8:24])
    bound(memory[:16], out=memory[16:32])


def test_arrays_of_a_refused_call_are_checked_again() -> None:
    loops = program(
        {"x": (Scope.INPUT, (16,)), "y": (Scope.OUTPUT, (16,))},
        vector("v", 16, store("y", at("v"), load("x", "v"))),
    )
    memory = np.zeros(40, np.float32)
    x, over_y, y = memory[:16], memory[8:24], memory[16:32]
    run = compile_program(loops, runnable_target(8)).bind()
    run(x, out=y)
    with pytest.raises(ValueError, match="y must have shape"):
        run(over_y, out=memory)
    with pytest.raises(ValueError, match="out must not overlap the input x"):
        run(over_y, out=y)


def test_a_read_only_output_is_refused(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    out = np.zeros((9, 20), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="y must be writable"):
        matmul.bind(b=operands["b"])(operands["a"], out=out)


def test_read_only_inputs_are_read(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    a = operands["a"].copy()
    a.flags.writeable = False
    np.testing.assert_array_equal(matmul(a, operands["b"]), a @ operands["b"])


def test_a_prepared_call_outlives_its_kernel(operands: dict[str, np.ndarray]) -> None:
    out = np.zeros((9, 20), np.float32)
    call = (
        compile_program(tiled_matmul(9, 20, 5, 4, 16, 5), runnable_target(8))
        .bind(b=operands["b"])
        .prepare(operands["a"].copy(), out=out)
    )
    gc.collect()
    call()
    np.testing.assert_array_equal(out, operands["a"] @ operands["b"])


def test_native_timing_covers_all_calls(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    bound = matmul.bind(b=operands["b"])
    out = np.zeros((9, 20), np.float32)
    few, many = (min(bound.time_calls(n, operands["a"], out=out) for _ in range(5)) for n in (100, 10_000))
    assert 0 < few < many
    np.testing.assert_array_equal(out, operands["a"] @ operands["b"])


def test_a_call_from_python_costs_few_microseconds(matmul: Kernel, operands: dict[str, np.ndarray]) -> None:
    run = matmul.bind(b=operands["b"])
    a, out = operands["a"], np.empty((9, 20), np.float32)
    run(a, out=out)

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(1000):
            run(a, out=out)
        return (time.perf_counter() - start) / 1000

    assert min(seconds() for _ in range(5)) < 20e-6


def test_unknown_sizes_are_refused() -> None:
    loops = LoopProgram("test", (Buffer("x", (np.array([3]),), Scope.INPUT),), ())
    with pytest.raises(ValueError, match="buffer x of test has no plain int shape"):
        compile_program(loops, runnable_target(8))


def test_spare_lanes_stay_inside_the_buffers() -> None:
    # The last row ends with the array; a full vector would read past it.
    loops = program(
        {"x": (Scope.INPUT, (3, 5)), "y": (Scope.OUTPUT, (3, 5)), "t": (Scope.REGISTER, (5,))},
        vector("v", 5, store("t", at("v"), load("x", 2, "v"))),
        vector("v", 5, store("y", at(0, "v"), load("t", "v"))),
        vector("v", 5, store("y", at(1, "v"), load("x", 1, var("v") * 1))),
    )
    text = emit_module(loops, runnable_target(8)).text
    assert text.count("call <8 x float> @llvm.masked.load") == 1
    assert text.count("call void @llvm.masked.store") == 2
