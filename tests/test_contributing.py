# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The diffs that CONTRIBUTING.md shows are of the code as it is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ABRIDGED = re.compile(r"\.\.\.|# ->")  # what follows is left out, or told in a comment


def added_lines() -> list[tuple[str, str]]:
    """Returns (file, line) of every line that a diff adds."""
    found, file = [], ""
    for block in re.findall(
        r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL
    ):
        for line in block.splitlines():
            if line.startswith("+++ b/"):
                file = line.removeprefix("+++ b/")
            elif line.startswith("+") and line != "+":
                found.append((file, line[1:]))
    return found


def test_there_are_diffs():
    assert len({file for file, _ in added_lines()}) >= 5


@pytest.mark.parametrize(("file", "line"), added_lines())
def test_every_added_line_stands_in_its_file(file, line):
    shown = " ".join(ABRIDGED.split(line)[0].partition("  #")[0].split())
    assert shown in " ".join((ROOT / file).read_text().split())
