"""docs/methods.md names what there is: every slot, method, replay, term and anchor, and nothing else."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from gift_core.anchors.table import ANCHORS
from gift_core.config.methods import MethodConfig, ReplayConfig, ReplayOptions
from gift_core.config.section import Section
from gift_core.objectives.table import TERMS
from tests.imports import ROOT

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
NONE = "–"


def table(heading: str) -> dict[str, dict[str, str]]:
    """The first table below a heading: for each row, by its first cell without backticks, the cells by column."""
    below = f"\n{PAGE}".split(f"\n{heading}\n", maxsplit=1)[1]
    lines = re.search(r"(?:^\|.*\|\n)+", below, re.MULTILINE)
    assert lines is not None
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[0].splitlines()]
    assert all(len(row) == len(head) for row in rows), "a row has other columns than the head"
    names = [row[0].strip("`") for row in rows]
    assert len(set(names)) == len(names), "a name comes twice"
    return {name: dict(zip(head, row, strict=True)) for name, row in zip(names, rows, strict=True)}


def options_of(section: type[Section], *, besides: str = "") -> set[str]:
    return set(section.model_fields) - {besides}


def listed(cell: str) -> set[str]:
    return set() if cell == NONE else set(cell.split(", "))


def replays() -> dict[str, type[ReplayOptions]]:
    """The options of each replay by its name in params.yaml."""
    members = get_args(get_args(ReplayConfig)[0])
    return {get_args(member.model_fields["images"].annotation)[0]: member for member in members}


def expected_row(method: MethodConfig) -> dict[str, str]:
    """What the table of methods says of a method."""
    replay = method.replay
    texts = getattr(replay, "texts", None)
    beside = "paired" if replay.pairs else texts.kind if texts else "classes"
    return {
        "start": method.start,
        "learns": method.learns,
        "replay": NONE if replay.reads == "none" else f"{replay.images} / {beside} / {replay.teacher}",
        "terms": ", ".join(name for name, _ in method.losses.items()) or NONE,
        "anchor": NONE if method.consolidation.kind == "none" else method.consolidation.kind,
        "average": method.average.kind if method.average else NONE,
        "merge": method.merge.kind if method.merge else NONE,
    }


def test_every_slot_of_a_method_is_on_the_page() -> None:
    assert list(table("# Methods")) == list(MethodConfig.model_fields)


def test_the_table_of_methods_says_what_the_preset_says(mini_params: dict[str, Any]) -> None:
    rows = table("## Methods")
    assert list(rows) == list(mini_params["methods"])
    for name, row in mini_params["methods"].items():
        assert rows[name] == {"method": f"`{name}`", **expected_row(MethodConfig.model_validate(row))}, name


def test_every_method_has_its_source_on_the_page(mini_params: dict[str, Any]) -> None:
    rows = table("## Where they come from, and where ours differs")
    assert list(rows) == list(mini_params["methods"])
    assert all(row["source"] != NONE for row in rows.values())


@pytest.mark.parametrize(("heading", "known"), [("## Terms", TERMS), ("## Anchors", ANCHORS)], ids=["terms", "anchors"])
def test_the_page_has_every_row_of_a_table_with_its_options(heading: str, known: dict[str, type[Section]]) -> None:
    rows = table(heading)
    assert list(rows) == list(known)
    for name, options in known.items():
        assert listed(rows[name]["options"]) == options_of(options, besides="kind"), name


def test_the_page_has_every_replay_with_its_options_and_its_list() -> None:
    rows = table("## Replay")
    assert list(rows) == list(replays())
    for name, options in replays().items():
        assert listed(rows[name]["options"]) == options_of(options, besides="images"), name
        assert rows[name]["cells"] == f"replay_{options.reads}", name


def test_every_path_that_the_page_names_exists() -> None:
    named = re.findall(r"\]\(([\w/.-]+)\)", PAGE) + [
        f"../{file}" for file in re.findall(r"\b\w+/[\w/]+\.(?:py|yaml)\b", PAGE)
    ]
    assert named
    assert [file for file in named if not (ROOT / "docs" / file).exists()] == []
