"""Every command that the documentation shows is one that its script accepts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from tests.test_configs import ROOT, SCRIPTS, composed

PAGES = [
    ROOT / "README.md",
    ROOT / "datasets" / "published" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
ADDED = "node_sum"
"""The encoder that docs/models.md adds as an example."""


def documented(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Script and overrides of each command in a page; variables of the shell are filled in."""
    for quoted in re.findall(r"`python scripts/([^`]+)`", page.read_text()):
        script, *overrides = shlex.split(quoted)
        yield Path(script).stem, overrides
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        variables: dict[str, str] = {}
        for line in block.replace("\\\n", " ").splitlines():
            words = [Template(word).safe_substitute(variables) for word in shlex.split(line, comments=True)]
            script = next((word for word in words if re.fullmatch(r"scripts/\w+\.py", word)), None)
            if script is not None:
                yield Path(script).stem, words[words.index(script) + 1 :]
            elif len(words) == 1 and re.match(r"[A-Z]+=", words[0]):
                name, _, value = words[0].partition("=")
                variables[name] = value


COMMANDS = [(page.name, *command) for page in PAGES for command in documented(page)]


@pytest.mark.parametrize(
    ("script", "overrides"),
    [command[1:] for command in COMMANDS],
    ids=[f"{page}-{script}-{number}" for number, (page, script, _) in enumerate(COMMANDS)],
)
def test_a_documented_command_composes(script: str, overrides: list[str]) -> None:
    if any(ADDED in word for word in overrides):
        pytest.skip("the page says how to add this model")
    if "-m" in overrides:  # of a sweep the first job
        overrides = [re.sub(r"^([\w.]+=[^,\[]*),.*", r"\1", word) for word in overrides if word != "-m"]
    is_for_people = re.compile(r"\.\.\.|\||^hydra\.")
    known = [word for word in overrides if not is_for_people.search(word)]
    if script in SCRIPTS:
        assert composed(script, *known)
    else:
        assert (ROOT / "scripts" / f"{script}.py").exists()


def test_commands_are_found() -> None:
    assert {"tune", "train", "collect", "tasks"} <= {script for _, script, _ in COMMANDS}
    assert len(COMMANDS) > 30
