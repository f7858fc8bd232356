"""revisions.json and verified_code.json fit the code. What an edit makes stale: end_to_end/test_revisions.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gift_core.code.fingerprint import VERIFIED, CodeBase
from gift_core.code.revisions import (
    Code,
    code_files,
    options_of,
    part_name,
    read_blocks,
    units_of_parts,
    verified_content,
)
from gift_core.config.experiment import Config
from gift_core.config.presets import load_preset
from recipes.revisions.decide import Change, decide
from recipes.revisions.probe import Instance, Outcome
from tests.imports import ROOT

CODE = Code(CodeBase(ROOT))
STAGES = [block.name for block in read_blocks(ROOT) if block.name != "check"]


def copy_of_the_code(folder: Path) -> Code:
    for name in ("gift_core", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Code(CodeBase(folder))


@pytest.fixture(scope="module")
def config() -> Config:
    return load_preset(ROOT / "presets" / "mini_compare.yaml")


def test_the_code_is_the_verified_one() -> None:
    found, verified = CODE.base.units(), {key: each for key, each in CODE.verified.items() if ".py" in key}
    changed = sorted(key for key in {*found, *verified} if found.get(key) != verified.get(key))
    assert changed == [], "the code changed since it was verified: run `make revisions`, and commit what it writes"


def test_code_with_the_verified_bytes_is_not_parsed_and_has_the_same_state(config: Config, tmp_path: Path) -> None:
    content = json.dumps(verified_content(copy_of_the_code(tmp_path).base))
    (tmp_path / VERIFIED).write_text(content, encoding="utf-8")
    copied = Code(CodeBase(tmp_path))
    assert copied.edited_files == ()
    states = code_files(copied, read_blocks(ROOT), config)
    assert not any(name.startswith("gift_core/method/training") for name in copied.base._modules)

    with (tmp_path / "gift_core" / "method" / "losses.py").open("a", encoding="utf-8") as losses:
        losses.write("# a comment\n")
    parsed = Code(CodeBase(tmp_path))
    assert parsed.edited_files == ("gift_core/method/losses.py",)
    assert code_files(parsed, read_blocks(ROOT), config) == states


def test_every_part_has_a_revision_and_a_reason() -> None:
    assert set(CODE.parts) == set(units_of_parts(CODE, STAGES))
    for name, part in CODE.parts.items():
        assert list(part["reasons"]) == [str(number) for number in range(1, part["revision"] + 1)], name


def test_verified_code_has_revisions_alone(config: Config) -> None:
    files = code_files(CODE, read_blocks(ROOT), config)
    methods = [f"data/code/{stage}/{name}.json" for stage in ("teach", "finetune") for name in config.run.methods]
    assert set(methods) < set(files)
    assert all(set(content) - {"settings"} == {"revisions"} for content in files.values())
    assert all(part_name(name.split("/")[2].removesuffix(".json")) in files[name]["revisions"] for name in files)


def test_the_options_of_a_method_are_those_of_its_row(config: Config) -> None:
    every = config.model_copy(update={"run": config.run.model_copy(update={"methods": ("ewc", "zscl")})})
    assert options_of("finetune", every) == {
        "ewc": ["consolidation.static_fisher", "replay.synthetic"],
        "zscl": ["average", "consolidation.uniform", "losses.distill_image_side", "replay.synthetic"],
    }
    assert options_of("teach", every) == {"ewc": ["fisher", "replay.synthetic"], "zscl": ["replay.synthetic"]}


BASE, ALIGN = "finetune", "finetune losses.align"
FUNCTION = ("gift_core/method/losses.py", "align")


def outcome(owner: str, difference: str = "", *, ran: bool = True) -> Outcome:
    line = CODE.base.module("gift_core/method/losses.py").units["align"].lines[0]
    template = ("gift_core/report/templates/charts.html.j2", 1)  # it runs, too, and is no module
    functions = frozenset({("gift_core/method/losses.py", line), template} if ran else {template})
    return Outcome(Instance("finetune", owner, (owner, "letters"), ()), difference, functions)


def change(part: str, *functions: tuple[str, str]) -> dict[str, Change]:
    return {part: Change(part, frozenset({": ".join(FUNCTION)}), frozenset(functions))}


def test_a_revision_rises_where_bytes_differ_and_where_what_changed_never_ran() -> None:
    changed, same, other = change(ALIGN, FUNCTION), outcome("gift"), outcome("finetune", ran=False)
    assert dict(decide(ROOT, changed, [(same, [BASE, ALIGN]), (other, [BASE])], [])) == {}
    differs = outcome("gift", "bytes differ")
    assert dict(decide(ROOT, changed, [(differs, [BASE, ALIGN])], [])) == {ALIGN: "finetune gift letters: bytes differ"}
    never = {ALIGN: "gift_core/method/losses.py: align changed and never ran in the probe"}
    assert dict(decide(ROOT, changed, [(outcome("gift", ran=False), [BASE, ALIGN])], [])) == never
    assert dict(decide(ROOT, changed, [(differs, [BASE, ALIGN])], [ALIGN])) == {}  # kept by hand
    assert dict(decide(ROOT, change(ALIGN), [(other, [BASE, ALIGN])], [])) == {}  # a value does not run
    # a part is not blamed for another where some stage shows it alone
    outcomes, both = [(differs, [BASE, ALIGN]), (outcome("finetune"), [BASE])], change(BASE, FUNCTION) | changed
    assert list(dict(decide(ROOT, both, outcomes, []))) == [ALIGN]
    assert list(dict(decide(ROOT, both, outcomes[:1], []))) == [BASE, ALIGN]
