"""docs/command_line.md has every command with what it does and its example, as `gift` itself says it."""

from __future__ import annotations

import re

from tests.docs.command_line import PAGE, page

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_the_help_of_gift() -> None:
    assert page() == TEXT, "run: make command-line"


def test_the_page_names_the_options_of_gift_itself() -> None:
    by_hand = TEXT.split("\n## Commands")[0]
    for option in ("--version", "--quiet", "--install-completion", "-h", "--json", "GIFT_QUIET"):
        assert option in by_hand


def test_every_command_stands_once_and_the_stages_last() -> None:
    names = re.findall(r"^### gift (.*)$", TEXT, re.MULTILINE)
    assert len(names) == len(set(names))
    assert {"predict", "add-task", "add-method", "use", "doctor", "data fetch"} < set(names)
    assert names[-10:] == [
        "check", "import_model", "ingest", "write_vocabulary", "write_prompts", "synthesize", "teach", "finetune",
        "evaluate", "report",
    ]  # fmt: skip
