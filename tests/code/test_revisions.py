"""revisions.json and verified_code.json fit the code. What an edit makes stale: end_to_end/test_revisions.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gift_core.code.fingerprint import VERIFIED, Code
from gift_core.code.revisions import code_files, edited, read_table
from gift_core.config.experiment import Config
from gift_core.config.presets import load_preset
from recipes.revisions.decide import decide
from recipes.revisions.probe import Use
from tests.imports import ROOT

CODE = Code(ROOT)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_preset(ROOT / "presets" / "mini_compare.yaml")


def test_the_code_is_the_verified_one() -> None:
    found = json.loads((ROOT / VERIFIED).read_text(encoding="utf-8"))
    assert found == CODE.record(), "the code changed since it was verified: run `make revisions`, and commit its files"
    assert (ROOT / VERIFIED).stat().st_size < 20_000


def test_code_with_the_verified_bytes_is_not_parsed_and_has_the_same_state(config: Config, tmp_path: Path) -> None:
    for name in ("gift_core", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / VERIFIED).write_text(json.dumps(Code(tmp_path).record()), encoding="utf-8")
    (tmp_path / "gift_core" / ".hidden").touch()
    (tmp_path / "gift_core" / "__pycache__").mkdir()
    (tmp_path / "gift_core" / "__pycache__" / "losses.cpython-311.pyc.1402").touch()  # Python is writing it
    copied = Code(tmp_path)
    assert copied.edited_files == ()
    states = code_files(copied, config)
    assert all(set(content) - {"settings"} == {"revisions"} for content in states.values())
    assert not copied._modules

    with (tmp_path / "gift_core" / "method" / "losses.py").open("a", encoding="utf-8") as losses:
        losses.write("# a comment\n")
    parsed = Code(tmp_path)
    assert parsed.edited_files == ("gift_core/method/losses.py",)
    assert code_files(parsed, config) == states and parsed._modules
    for name in ("gift_core/mini/more.bin", "stages/more.py"):
        (tmp_path / name).touch()
    assert Code(tmp_path).edited_files == (*parsed.edited_files, "gift_core/mini/more.bin", "stages/more.py")
    (tmp_path / VERIFIED).write_text("{}", encoding="utf-8")
    parts = list(edited(Code(tmp_path), "finetune"))
    assert len(parts) > 50 and parts == sorted(parts), "the order of sets must not reach data/code"


def test_every_revision_has_a_reason() -> None:
    for name, part in read_table(CODE).items():
        assert sorted(map(int, part["reasons"])) == [*range(1, part["revision"] + 1)], name
    newest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    assert "\n### Runs again\n\n" in newest, "`make revisions` writes there"


FILE, BASE, ALIGN = "gift_core/method/losses.py", "finetune", "finetune losses.align"


def test_a_revision_rises_where_bytes_differ_and_where_what_changed_never_ran(tmp_path: Path) -> None:
    old, new = (tmp_path / name for name in ("old", "new"))
    for folder, value in ((old, 1), (new, 2)):
        (folder / FILE).parent.mkdir(parents=True)
        (folder / FILE).write_text(f"def align():\n    return {value}\ndef same(): return 3\n", encoding="utf-8")

    def rising(*stages: tuple[str | None, int, dict[str, str]]) -> dict[str, str]:
        """From (how a stage differs, the line of the function that ran, {part: what changed of it})."""
        uses = []
        for difference, line, changed in stages:
            changes = {part: frozenset({unit}) for part, unit in changed.items()}
            uses.append(Use("finetune", changes=changes, difference=difference, ran={f"{FILE}:{line}"}))
        return {part: why for part, why in decide(Code(old), Code(new), uses).items() if why}

    align = {ALIGN: f"{FILE}: align"}
    both = {BASE: f"{FILE}: same", **align}
    assert rising(("", 1, align)) == {}
    assert rising(("bytes differ", 1, align)) == {ALIGN: "bytes differ"}
    assert rising(("", 3, align)) == {ALIGN: f"{FILE}: align changed and never ran in the probe"}
    assert rising((None, 1, align)) == {ALIGN: "what it reads is not what it was"}
    assert rising(("", 1, {BASE: "gift_core/food.yaml"})) == {BASE: "gift_core/food.yaml changed"}
    # a part is not blamed for another where some stage shows it alone
    assert list(rising(("bytes differ", 1, both), ("", 1, {BASE: f"{FILE}: same"}))) == [ALIGN]
    assert list(rising(("bytes differ", 1, both))) == [BASE, ALIGN]
