"""Counts what makes a page hard to read, and records it in prose.csv: python -m tests.docs.prose (make prose).

Of a page that the record has, the command writes the smaller of both counts: it may only go down.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from tests.imports import ROOT

RECORD = Path(__file__).with_name("prose.csv")
GENERATED = {"docs/command_line.md"}
REFERENCES = {"docs/architecture.md", "docs/command_line.md", "docs/methods.md"}
GLOSSARY = "docs/glossary.md"
MAX_SENTENCE_WORDS, MAX_NUMBERS, MIN_VERB_WORDS = 35, 3, 5
STEMS = "|".join(Path(__file__).with_name("verb_stems.txt").read_text(encoding="utf-8").split())
AUXILIARIES = "is|are|was|were|be|been|can|cannot|will|would|may|might|should|could|does|did|done"
VERB = re.compile(rf"\b(?:{AUXILIARIES}|(?:{STEMS})(?:e|s|es|ed|d|ies|ied|y|ing|n|en|t|ten)?)\b", re.IGNORECASE)
NUMBER = re.compile(r"(?<![\w/.#-])[−+±-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?%?(?![\w/]*[a-z]{3})")
YEAR = re.compile(r"\b(?:19|20)\d\d\b")
PRONOUNS = "It|Its|They|Their|These|Those|This|That|Both|All are|The same|Others|None|Neither|Each is|The others?|Such"
NOUNS = "page|command|file|project|stage|method|table|section|picture|model|task|loss"
PRONOUN = re.compile(rf"^\W*(?:{PRONOUNS})\b(?! (?:{NOUNS})s?\b)")
QUESTION = re.compile(r"\*\*[^*]+\?\*\* +[\w`[]", re.DOTALL)


def budget(page: str) -> int:
    """Returns how many words the page may have outside of tables and code."""
    if page.startswith("docs/decisions/"):
        return 350
    budgets = {"README.md": 1_000, "docs/results.md": 2_500, "docs/log.md": 2_500, GLOSSARY: 10_000}
    return budgets.get(page, 2_000 if page in REFERENCES else 1_300)


def paragraphs(text: str) -> Iterator[str]:
    """Yields each paragraph and list item of a page, without code, tables, headings, pictures and comments."""
    without_code = re.sub(r"^ *```.*?^ *```$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    lines: list[str] = []
    for line in [*without_code.splitlines(), ""]:
        skipped = line.startswith(("|", "    ", "#", "!["))
        if skipped or not line.strip() or re.match(r"\s*(?:[-*]|\d+\.) ", line):
            if lines:
                yield " ".join(lines)
            lines = []
        if not skipped and line.strip():
            lines.append(line.strip())


def sentences(text: str) -> Iterator[str]:
    """Yields the sentences of a page, with CODE for what is in backquotes and links without their targets."""
    for paragraph in paragraphs(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "CODE", paragraph))
        yield from re.split(r"(?<=[.!?:])\*{0,2} +(?=[A-Z*\[])", plain)


def has_verb(sentence: str) -> bool:
    """Whether it has one, or needs none: a label before a colon, a few words, or a command at the beginning."""
    short = len(sentence.split()) < MIN_VERB_WORDS
    return short or sentence.endswith(":") or "CODE" in sentence[:6] or VERB.search(sentence) is not None


def faults(page: str, text: str) -> dict[str, int]:
    """Returns the counts of a page: sentences by fault, a missing question at the beginning, words over its budget."""
    every = list(sentences(text))
    guide = page != "README.md" and not page.startswith("docs/decisions/")
    return {
        "long": sum(len(each.split()) > MAX_SENTENCE_WORDS for each in every),
        "numbers": sum(len(NUMBER.findall(YEAR.sub("", each))) > MAX_NUMBERS for each in every),
        "verbless": sum(not has_verb(each) for each in every),
        "pronoun": sum(PRONOUN.search(each) is not None for each in every),
        "no_question": int(guide and QUESTION.match(next(paragraphs(text), "")) is None),
        "words_over": max(0, sum(len(each.split()) for each in every) - budget(page)),
    }


def counted() -> dict[str, dict[str, int]]:
    """Returns the counts of README, CONTRIBUTING, the guides and the decisions."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    pages = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    return {page: faults(page, text) for page, text in pages.items() if page not in GENERATED}


def recorded() -> dict[str, dict[str, int]]:
    with RECORD.open(encoding="utf-8") as file:
        return {row.pop("page"): {name: int(count) for name, count in row.items()} for row in csv.DictReader(file)}


if __name__ == "__main__":
    before = recorded() if RECORD.is_file() else {}
    rows = counted()
    with RECORD.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["page", *rows["README.md"]], lineterminator="\n")
        writer.writeheader()
        for page, row in rows.items():
            most = before.get(page, row)
            writer.writerow({"page": page, **{name: min(count, most[name]) for name, count in row.items()}})
