"""Saved kernels are called again without compiling, or refused with one sentence."""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.llvm.artefact import load, missing_features, save_kernel
from codegen.llvm.build import compile_program
from codegen.llvm.kernel import Kernel
from codegen.llvm.runtime import has_openmp
from tests.codegen.llvm.loop_building import cpu_target, runnable_target, some_inputs
from tests.codegen.llvm.tiled_programs import tiled_matmul


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return compile_program(tiled_matmul(9, 20, 5, 4, 16, 5), runnable_target(8))


@pytest.fixture
def folder(kernel: Kernel, tmp_path: Path) -> Path:
    return save_kernel(kernel, tmp_path / "deep" / "kernel", {"trials": 64})


def test_a_loaded_kernel_computes_the_same(kernel: Kernel, folder: Path) -> None:
    assert kernel.loops is not None
    inputs = some_inputs(kernel.loops)
    loaded = load(folder)
    np.testing.assert_array_equal(loaded(**inputs), kernel(**inputs))
    np.testing.assert_array_equal(loaded.bind(b=inputs["b"])(inputs["a"]), inputs["a"] @ inputs["b"])
    assert loaded.signature == kernel.signature
    assert loaded.target == kernel.target


def test_user_shapes_are_part_of_the_artefact(kernel: Kernel, tmp_path: Path) -> None:
    assert kernel.loops is not None
    inputs = some_inputs(kernel.loops)
    users = kernel.with_user_shapes({"a": (1, 9, 5), "y": (1, 9, 20)})
    folder = save_kernel(users, tmp_path / "k", {})
    loaded = load(folder)
    assert loaded.signature == users.signature
    np.testing.assert_array_equal(
        loaded(inputs["a"][None], inputs["b"]), (inputs["a"] @ inputs["b"])[None], strict=True
    )
    assert json.loads((folder / "kernel.json").read_text())["user_shapes"]["y"] == [1, 9, 20]
    if (folder / "kernel.h").exists():
        header = (folder / "kernel.h").read_text()
        assert "0: a[1][9][5], input, 180 bytes" in header
        assert "2: y[1][9][20], output, 720 bytes" in header


@pytest.mark.skipif(not has_openmp(), reason="no OpenMP runtime")
def test_kernels_of_several_threads_are_loaded_too(tmp_path: Path) -> None:
    kernel = compile_program(tiled_matmul(9, 20, 5, 4, 16, 3), runnable_target(8, 2))
    assert kernel.loops is not None
    assert kernel.signature.num_threads == 2
    inputs = some_inputs(kernel.loops)
    np.testing.assert_array_equal(
        load(save_kernel(kernel, tmp_path / "k", {}))(**inputs), inputs["a"] @ inputs["b"]
    )


def test_the_folder_says_what_it_holds(folder: Path) -> None:
    description = json.loads((folder / "kernel.json").read_text())
    assert description["metadata"] == {"trials": 64}
    assert [entry["name"] for entry in description["arguments"]] == ["a", "b", "y", "packed"]
    assert (folder / "loops.txt").read_text().startswith("program test")
    assert "@llvm.fma.v8f32" in (folder / "kernel.ll").read_text()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_shared_library_is_called_from_c_conventions(kernel: Kernel, folder: Path) -> None:
    assert kernel.loops is not None
    inputs = some_inputs(kernel.loops)
    assert "void test_run(void **buffers);" in (folder / "kernel.h").read_text()
    library = ctypes.CDLL(str(folder / "kernel.so"))
    y, packed = np.empty((9, 20), np.float32), np.zeros(1024, np.float32)
    arrays = [inputs["a"], inputs["b"], y, packed]
    buffers = (ctypes.c_void_p * 4)(*(array.ctypes.data for array in arrays))
    library.test_prepack(buffers)
    library.test_run(buffers)
    np.testing.assert_array_equal(y, inputs["a"] @ inputs["b"])


def test_saving_again_replaces_the_folder(kernel: Kernel, folder: Path) -> None:
    (folder / "old").touch()
    save_kernel(kernel, folder, {})
    assert not (folder / "old").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    load(folder)


def test_a_failed_save_leaves_the_folder_as_it_was(kernel: Kernel, folder: Path) -> None:
    with pytest.raises(ValueError, match="metadata must be JSON values"):
        save_kernel(kernel, folder, {"bad": object()})
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    load(folder)


@pytest.mark.parametrize("name", ["kernel.o", "kernel.ll", "loops.txt"])
def test_damaged_and_missing_files_are_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-7])
    with pytest.raises(ValueError, match=f"{name} in .* is damaged"):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"is incomplete: .*{name}"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "is damaged"),
        (lambda text: text.replace('"format": 2', '"format": 99'), "has format 99, this version reads 2"),
        (lambda text: text.replace('"symbol"', '"sym"'), "symbol is missing"),
        (lambda text: "[]", "has format None"),
        (lambda text: "[" * 100_000, "is damaged"),
        (lambda text: "\udcff", "is damaged"),
        (
            lambda text: text.replace('"llvm_features": ""', '"llvm_features": "+avx1024"'),
            "needs the CPU features avx1024",
        ),
    ],
)
def test_unusable_descriptions_are_refused(folder: Path, change: object, message: str) -> None:
    path = folder / "kernel.json"
    path.write_text(change(path.read_text()), errors="surrogateescape")  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        load(folder)


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(symbol=3), "symbol must be a string, got 3"),
        (lambda d: d.update(num_threads=True), "num_threads must be an integer, got True"),
        (lambda d: d.update(num_threads=0), "num_threads must be positive, got 0"),
        (lambda d: d.update(prepack_inputs=["y"]), r"prepack_inputs must be among a, b, got \['y'\]"),
        (lambda d: d.update(prepack_inputs=[[]]), r"prepack_inputs must be among a, b, got \[\[\]\]"),
        (lambda d: d.update(arguments={}), "arguments must be a list, got {}"),
        (lambda d: d.update(arguments=[3]), "an argument must be an object, got 3"),
        (lambda d: d["arguments"].pop(2), "arguments must have different names and one output, got a, b"),
        (lambda d: d["arguments"][1].update(name="a"), "arguments must have different names"),
        (lambda d: d["arguments"][0].update(scope="reg"), "scope of a must be one of input, .*, got 'reg'"),
        (lambda d: d["arguments"][0].update(shape=[9, 5.0]), r"shape of a must be .*, got \[9, 5.0\]"),
        (lambda d: d["arguments"][0].update(shape=[9, -5]), r"shape of a must be a list of positive"),
        (lambda d: d["arguments"][0].update(shape="95"), "shape of a must be a list of positive"),
        (lambda d: d["arguments"][0].pop("shape"), "shape of a must be .*, got None"),
        (lambda d: d["arguments"][3].update(shape=[10**9] * 9), "packed of shape .* takes .* bytes"),
        (lambda d: d["arguments"][0].update(shape=[9, 4]), "takes 144 bytes, allocate_bytes says 180"),
        (lambda d: d.pop("user_shapes"), "user_shapes is missing"),
        (lambda d: d.update(user_shapes=[]), r"user_shapes must be an object, got \[\]"),
        (lambda d: d.update(user_shapes={"a": [45.0]}), r"shape of a must be .*, got \[45.0\]"),
        (lambda d: d.update(user_shapes={"a": [0, 5]}), "shape of a must be a list of positive integers"),
        (lambda d: d.update(user_shapes={"a": [9, 6]}), r"a has 45 elements, .* the shape \(9, 6\)"),
        (lambda d: d.update(user_shapes={"packed": [1]}), "user_shapes may name a, b, y, got packed"),
        (lambda d: d.update(target=None), "target must be an object, got None"),
        (lambda d: d["target"].update(speed=1), "target has no speed, only name, "),
        (lambda d: d["target"].pop("cpu"), "cpu is missing"),
        (lambda d: d["target"].update(vector_lanes="8"), "vector_lanes must be an integer, got '8'"),
        (lambda d: d["target"].update(vector_lanes=7), "vector_lanes must be 4, 8 or 16, got 7"),
        (lambda d: d["sha256"].update({"../other": "0"}), "sha256 must name loops.txt, .*, got .*../other"),
        (lambda d: d["sha256"].pop("kernel.o"), "sha256 must name loops.txt, kernel.ll, kernel.o, got"),
        (lambda d: d["sha256"].update({"kernel.o": 1}), "kernel.o must be a string, got 1"),
    ],
)
def test_every_value_of_a_description_is_checked(folder: Path, edit: Edit, message: str) -> None:
    edit_description(folder, edit)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert str(caught.value).startswith(f"kernel.json in {folder} is damaged: ")
    assert "\n" not in str(caught.value)


ARM_64 = 183


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda code: code[:-7], "it is cut short"),
        (lambda code: code[:40], "it is no object in the ELF format"),
        (lambda code: b"MZ" + code[2:], "it is no object in the ELF format"),
        (
            lambda code: code[:18] + ARM_64.to_bytes(2, "little") + code[20:],
            r"it is for another architecture \(ELF machine 183\)",
        ),
    ],
)
def test_objects_that_cannot_be_linked_are_refused(
    folder: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    code = change((folder / "kernel.o").read_bytes())
    (folder / "kernel.o").write_bytes(code)
    digest = hashlib.sha256(code).hexdigest()
    edit_description(folder, lambda d: d["sha256"].update({"kernel.o": digest}))
    with pytest.raises(ValueError, match=f"kernel.o in .* cannot be used: {message}"):
        load(folder)


def test_an_object_without_the_entry_points_is_refused(folder: Path) -> None:
    edit_description(folder, lambda d: d.update(symbol="other"))
    with pytest.raises(ValueError, match=r"LLVM cannot link it: Symbols not found: \[ other_"):
        load(folder)


def edit_description(folder: Path, edit: Edit) -> None:
    path = folder / "kernel.json"
    description = json.loads(path.read_text())
    edit(description)
    path.write_text(json.dumps(description))


def test_a_folder_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no kernel in"):
        load(tmp_path)


def test_loaded_kernels_are_not_saved_again(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="copy that folder"):
        save_kernel(load(folder), tmp_path / "other", {})


def test_scalar_instructions_need_their_features_too() -> None:
    target = replace(cpu_target(4), llvm_features="+bmi9,-avx1024,+clzero9")
    assert missing_features(target) == ("bmi9",)


@pytest.fixture
def narrow_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with vectors of 8 lanes but without fused multiply-add."""
    features = {"sse4.2": True, "avx2": True, "fma": False, "avx512f": False}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)


@pytest.mark.usefixtures("narrow_cpu")
@pytest.mark.parametrize(
    ("lanes", "missing"),
    [(4, ()), (8, ("fma",)), (16, ("avx512f", "avx512bw", "avx512dq", "avx512vl"))],
)
def test_wide_vectors_need_their_features(lanes: int, missing: tuple[str, ...]) -> None:
    assert missing_features(cpu_target(lanes)) == missing


def test_a_kernel_that_the_cpu_cannot_run_is_refused(folder: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("narrow_cpu")  # after the kernel was built on the CPU at hand
    with pytest.raises(ValueError, match="needs the CPU features fma, which this CPU lacks"):
        load(folder)
