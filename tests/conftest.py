"""What holds for every test: hypothesis profiles, run-time checks of array shapes, golden texts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from tests import shapes

# Threads of several test processes would wait for each other on the same cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Triton decides when it is imported, by whichever test comes first, whether it compiles or interprets.
os.environ["TRITON_INTERPRET"] = "1"

# Deadlines measure the machine, not the code; the CI profile repeats the same examples every time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Where shapes are part of the signature; the hook has to be there before these modules are imported.
SHAPED = ["costmodel.network", "costmodel.encoders"]
install_import_hook(SHAPED, f"{shapes.__name__}.checked")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the texts in tests/golden anew, not compare them"
    )


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Compares a text with ``tests/golden/NAME.txt``, or stores it there with ``--update-golden``."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if pytestconfig.getoption("update_golden"):
            path.write_text(text)
        assert path.exists(), f"there is no {path}: --update-golden writes it"
        assert text == path.read_text(), f"{path} has another text: read the difference, then --update-golden"

    return check
