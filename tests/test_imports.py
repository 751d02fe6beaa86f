"""Imports point one way; heavy packages stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "codegen": {"codegen"},
    "datasets": {"codegen", "datasets"},
    "costmodel": {"codegen", "datasets", "costmodel"},
    "search": {"codegen", "search"},
    "scripts": {"codegen", "datasets", "costmodel", "search", "scripts"},
}
OURS = frozenset(ALLOWED)
SCRIPTS = ["running", "options", "learning", "tuning", "suites"]
"""The folders of ``scripts``: each imports from itself and from those before it, none from a command."""


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_those_below_it(package: str) -> None:
    for path in sources(package):
        found = {name.split(".")[0] for name in imported_names(parse(path))} & OURS
        assert found <= ALLOWED[package], f"{path.relative_to(ROOT)} imports {found - ALLOWED[package]}"


@pytest.mark.parametrize("folder", SCRIPTS)
def test_a_folder_of_scripts_imports_only_those_before_it(folder: str) -> None:
    allowed = {f"scripts.{name}" for name in SCRIPTS[: SCRIPTS.index(folder) + 1]}
    for path in sources(f"scripts/{folder}"):
        names = [name for name in imported_names(parse(path)) if name.split(".")[0] == "scripts"]
        found = {".".join(name.split(".")[:2]) for name in names}
        assert found <= allowed, f"{path.relative_to(ROOT)} imports {found - allowed}"


def test_only_commands_lie_directly_in_scripts() -> None:
    folders = {path.parent.name for path in (ROOT / "scripts").glob("*/__init__.py")}
    assert folders == set(SCRIPTS)
    for path in (ROOT / "scripts").glob("*.py"):
        is_command = '__name__ == "__main__"' in path.read_text()
        assert is_command or path.name == "__init__.py", f"{path.name} is no command"


@pytest.mark.parametrize("package", ["codegen", "datasets", "costmodel", "search"])
def test_only_scripts_know_hydra(package: str) -> None:
    for path in sources(package):
        found = {name.split(".")[0] for name in imported_names(parse(path))} & {"hydra", "omegaconf"}
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_codegen_names_no_torch_at_module_level() -> None:
    for path in without_torch():
        names = {name.split(".")[0] for name in imported_names(at_import(parse(path)))}
        assert "torch" not in names, f"{path.relative_to(ROOT)} imports torch when it is imported"


def test_importing_all_of_codegen_loads_no_torch() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in without_torch()]
    imports = "; ".join(f"import {name.removesuffix('.__init__')}" for name in modules)
    check = "import sys; sys.exit('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", f"{imports}; {check}"], cwd=ROOT, check=False)
    assert finished.returncode == 0


def without_torch() -> list[Path]:
    """All of codegen but the modules named ``*_torch``, which others import inside a function only."""
    return [path for path in sources("codegen") if not path.stem.endswith("_torch")]


def test_the_check_sees_every_form_of_import() -> None:
    text = "import a.b\nfrom c import d\ndef f():\n    import e\nif TYPE_CHECKING:\n    import g\n"
    assert list(imported_names(ast.parse(text))) == ["a.b", "c", "e", "g"]
    assert list(imported_names(at_import(ast.parse(text)))) == ["a.b", "c"]


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no sources under {package}"
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Absolute names of imported modules; our packages use no relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node.module or ""


def at_import(tree: ast.Module) -> ast.Module:
    """What runs when the module is imported: no function bodies, no TYPE_CHECKING blocks."""

    class Pruned(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None: ...

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None: ...

        def visit_If(self, node: ast.If) -> ast.AST | None:
            is_for_types = "TYPE_CHECKING" in ast.unparse(node.test)
            return None if is_for_types else self.generic_visit(node)

    pruned = Pruned().visit(tree)
    assert isinstance(pruned, ast.Module)
    return pruned
