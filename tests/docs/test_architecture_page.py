"""docs/architecture.md names the stages, parts and functions that exist, in their order."""

from __future__ import annotations

import pkgutil
import re

import pytest

from tests.imports import ROOT
from tests.test_architecture import DVC, ORDER

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WALKS = PAGE[PAGE.index("## Walk 1") :]
NAME = re.compile(r"`((?:[a-z_]+\.)+[A-Za-z_]\w*(?:\.[a-z]\w*)?)`")  # a module with a function, a class or a method
FUNCTIONS = [name for name in dict.fromkeys(NAME.findall(WALKS)) if not name.endswith((".json", ".jsonl", ".html"))]


def test_the_table_has_the_stages_of_the_pipeline() -> None:
    assert re.findall(r"^\| `(\w+)(?:@[\w-]+)?` \|", PAGE, re.MULTILINE) == list(DVC)


def test_the_page_gives_the_import_order_that_is_tested() -> None:
    (order,) = re.findall(r"^`definitions.*?verification`$", PAGE, re.MULTILINE | re.DOTALL)
    groups = [set(re.findall(r"\w+", group)) for group in order.split("<")]
    assert groups == ORDER


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_walk_names_a_function_that_exists(name: str) -> None:
    dotted = name if name.startswith("stages.") else f"gift_core.{name}"
    assert callable(pkgutil.resolve_name(dotted))
