"""Saved kernels are called again without compiling, or refused with one sentence."""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from codegen.llvm.artefact import load, missing_features, save_kernel
from codegen.llvm.build import compile_program
from codegen.llvm.kernel import Kernel
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
    np.testing.assert_array_equal(loaded.bind(b=inputs["b"]).run(inputs["a"]), inputs["a"] @ inputs["b"])
    assert loaded.signature == kernel.signature
    assert loaded.target == kernel.target


def test_kernels_of_several_threads_are_loaded_too(tmp_path: Path) -> None:
    kernel = compile_program(tiled_matmul(9, 20, 5, 4, 16, 5), runnable_target(8, 2))
    assert kernel.loops is not None
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
        (lambda text: text.replace('"format": 1', '"format": 99'), "has format 99, this version reads 1"),
        (lambda text: text.replace('"symbol"', '"sym"'), "lacks symbol"),
        (lambda text: "[]", "has format None"),
        (
            lambda text: text.replace('"llvm_features": ""', '"llvm_features": "+avx1024"'),
            "needs the CPU features avx1024",
        ),
    ],
)
def test_unusable_descriptions_are_refused(folder: Path, change: object, message: str) -> None:
    path = folder / "kernel.json"
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_a_folder_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no kernel in"):
        load(tmp_path)


def test_loaded_kernels_are_not_saved_again(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="copy that folder"):
        save_kernel(load(folder), tmp_path / "other", {})


def test_wide_vectors_need_their_features() -> None:
    assert not missing_features(cpu_target(4))
