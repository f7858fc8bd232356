"""The blocks of code of all pages that people read, as Markdown readers see them, and what their commands need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.clone import Clone
from tests.team.toy import write_gift

SHELL = ("sh", "bash", "shell", "console")
COMMENT = re.compile(r"(?:^|\s)#\s.*$")


@dataclass(frozen=True)
class Block:
    """A block of a page: its language (sh for an indented one, which has none) and its lines."""

    page: str
    language: str
    code: str
    fenced: bool

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block without comments, with what continues them."""
        joined = re.sub(r"\\\n\s*", "", self.code)
        return [line for text in joined.splitlines() if (line := COMMENT.sub("", text).strip())]


def blocks_of(root: Path, page: str) -> list[Block]:
    """Returns the shell and Python blocks of a page. An indented block counts as shell."""
    text = (root / page).read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    found = []
    for token in MarkdownIt("commonmark").parse(text):
        language = token.info.split()[0] if token.info.strip() else "" if token.type == "fence" else "sh"
        if token.type in ("fence", "code_block") and (language == "python" or language in SHELL):
            found.append(Block(page, "sh" if language in SHELL else language, token.content, token.type == "fence"))
    return found


def install_gift(clone: Clone) -> None:
    """Gives a clone the command `gift`, and lets make believe that everything is installed."""
    tools = clone.folder / ".venv" / "bin"
    write_gift(tools)
    for name in ("bin/activate", ".installed", ".installed-dev"):
        (tools.parent / name).touch()
    clone.environment["PATH"] = f"{tools}:{clone.environment['PATH']}"
