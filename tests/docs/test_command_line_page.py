"""docs/command_line.md has every command with what it does and its example, as `gift` itself says it."""

from __future__ import annotations

import re

from tests.docs.command_line import PAGE, page
from tests.test_architecture import DVC

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_the_help_of_gift() -> None:
    assert page() == TEXT, "run: make command-line"


def test_every_command_stands_once_and_the_stages_last() -> None:
    names = re.findall(r"^### gift (.*)$", TEXT, re.MULTILINE)
    assert len(names) == len(set(names)) and {"predict", "add-task", "doctor", "data fetch"} < set(names)
    assert names[-10:] == list(DVC)
