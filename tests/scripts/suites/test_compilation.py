"""What torch.compile gains in training: both ways are timed, and what takes too long is given up."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from scripts.suites.compilation import TimeIsUp, limited
from tests.scripts.tiny import Scripts, refusal

SUITE = ["suite=compilation", "debug=tiny", "data.path=tiny.parquet", "data.test_fraction=0"]


def test_steps_are_timed_as_they_are_and_compiled(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    def slower(network: Any, dynamic: bool) -> Any:
        def run(forest: Any) -> Any:
            time.sleep(0.05)
            return network(forest)

        return run

    monkeypatch.setattr(torch, "compile", slower)
    found = scripts("benchmark", "run", *SUITE, "compilation.limit_s=60")
    assert 0 < found["num_compiled_steps"] == found["num_steps"] <= 2
    assert found["compiled_step_s"] > 0.05
    assert 0 < found["speedup"] < 1


def test_what_takes_too_long_to_compile_is_given_up(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: lambda forest: time.sleep(60))
    found = scripts("benchmark", "run", *SUITE, "compilation.limit_s=0.2")
    assert found["num_compiled_steps"] == 0
    assert found["eager_step_s"] > 0
    assert "compiled_step_s" not in found
    assert "compiled: given up after 0.2 s, with 0 of" in capsys.readouterr().out


def test_where_nothing_can_be_compiled_the_reason_is_said(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(forest: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: no working C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: broken)
    found = scripts("benchmark", "run", *SUITE)
    assert "compiled_step_s" not in found
    assert "compiled: InvalidCxxCompiler: no working C++ compiler" in capsys.readouterr().out


def test_a_limit_ends_with_what_it_limits() -> None:
    with pytest.raises(TimeIsUp), limited(0.05):
        time.sleep(5)
    with limited(0.05):
        pass
    time.sleep(0.1)


@pytest.mark.parametrize("wrong", ["compilation.num_steps=0", "compilation.limit_s=0"])
def test_a_wrong_value_is_one_sentence(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    words = "compilation.num_steps must be at least 1 and compilation.limit_s positive"
    assert words in refusal(capsys, scripts, "benchmark", *SUITE, wrong)
