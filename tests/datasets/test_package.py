from __future__ import annotations

from pathlib import Path

import pytest

import codegen
from datasets import check_package


def test_our_package_is_the_one_that_is_found() -> None:
    check_package()


def test_packages_of_two_checkouts_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "codegen" / "__init__.py"
    monkeypatch.setattr(codegen, "__file__", str(elsewhere))
    with pytest.raises(ValueError, match=str(elsewhere.parent)):
        check_package()
