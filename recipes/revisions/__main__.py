"""`make revisions`: decides whether a change of the code changes what a stage writes, and records the answer.

It runs small experiments with the verified code, a git worktree of the commit that wrote verified_code.json, and with
the code of the working tree. A part keeps its revision where every stage that uses it wrote the same bytes, every
changed function of the part ran, and no data file of it changed. Otherwise its revision rises. The reason is in
revisions.json and CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gift_core.code.fingerprint import REVISIONS, VERIFIED, CodeBase
from gift_core.code.revisions import Code, verified_content
from recipes.revisions.decide import Change, PartsOf, Used, decide, find_changes, missed, parts_of
from recipes.revisions.experiments import experiments
from recipes.revisions.probe import Instance, Probe

ROOT = Path(__file__).resolve().parents[2]
TABLE, CHANGELOG = ROOT / REVISIONS, ROOT / "CHANGELOG.md"
WITHOUT_REPORT = "methods"  # the largest experiment
HEADING = "### Runs again\n"
MISSED = "gift_core/code/fingerprint.py follows imports, and did not find this one. Import it where it is used."


def main() -> None:
    """Decides, writes the two tables, and prints what it decided."""
    parser = argparse.ArgumentParser(prog="make revisions", description=__doc__)
    parser.add_argument("--keep", action="append", default=[], metavar="PART", help="keep the revision of this part")
    parser.add_argument("--reason", default="", help="why it is safe to keep it: code that no machine here can run")
    chosen = parser.parse_args()
    if bool(chosen.keep) != bool(chosen.reason):
        parser.error("--keep PART and --reason TEXT belong together")
    new, parts = Code(CodeBase(ROOT)), parts_of(ROOT)
    if not TABLE.is_file():
        _write({name: {"revision": 1, "reasons": {"1": "the first one"}} for name in parts})
        print(f"{len(parts)} parts have revision 1.")  # noqa: T201
        return
    has_same_data = all(name.endswith(".py") for name in new.edited_files)
    if has_same_data and {key: each for key, each in new.verified.items() if ".py" in key} == new.base.units():
        if new.edited_files:  # comments, texts
            _write(json.loads(TABLE.read_text(encoding="utf-8")))
        print("The code is the verified one: there is nothing to do.")  # noqa: T201
        return
    started = time.monotonic()
    with _verified_code() as folder:
        changes = find_changes(folder, ROOT)
        print(f"{len(changes)} of {len(parts)} parts changed: {', '.join(changes) or 'none'}")  # noqa: T201
        if unknown := sorted({*chosen.keep} - {*changes}):
            sys.exit(f"error: --keep {unknown[0]}: this part did not change. Changed: {', '.join(changes)}")
        rising = dict(decide(ROOT, changes, list(_outcomes(new, folder, changes)), chosen.keep))
    table = _record(parts, rising, dict.fromkeys(chosen.keep, chosen.reason))
    for name, why in rising.items():
        print(f"{name}: revision {table[name]['revision']}: {why}")  # noqa: T201
    kept = len(changes) - len(rising)
    print(f"{kept} changed parts keep their revision, {len(rising)} rise ({time.monotonic() - started:.0f} s).")  # noqa: T201


@contextmanager
def _verified_code() -> Iterator[Path]:
    """Yields a folder with the code of the commit that wrote verified_code.json last."""
    commit = _git("log", "-1", "--format=%H", "--", VERIFIED)
    if not commit:
        sys.exit(f"error: {VERIFIED} is in no commit. Commit it with the code that it describes.")
    with tempfile.TemporaryDirectory(prefix="gift-verified-") as folder:
        _git("worktree", "add", "--quiet", "--detach", f"{folder}/code", commit)
        try:
            yield Path(folder, "code")
        finally:
            _git("worktree", "remove", "--force", f"{folder}/code")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _outcomes(new: Code, old: Path, changes: Mapping[str, Change]) -> Iterator[Used]:
    """Yields the outcome of each stage that uses a changed part, with the names of all its parts."""
    with tempfile.TemporaryDirectory(prefix="gift-probe-") as folder:
        probe = Probe(Path(folder), ROOT, old)
        for experiment in experiments():
            parts = PartsOf(Path(folder, experiment.name))
            for outcome in probe.run(experiment, _wanted(experiment.name, parts, changes)):
                if lost := missed(new, outcome, parts.options(outcome.instance)):
                    sys.exit(f"error: {lost[0]} ran in {outcome.instance}, which does not depend on it: {MISSED}")
                same = "the verified code refuses it" if outcome.is_new else "same bytes"
                print(f"  {experiment.name}: {outcome.instance}: {outcome.difference or same}", flush=True)  # noqa: T201
                yield outcome, parts(outcome.instance)


def _wanted(experiment: str, parts: PartsOf, changes: Mapping[str, Change]) -> Callable[[Instance], bool]:
    """Returns whether a stage is compared: if it uses a changed part.

    Of finetune these are all. Of teach and evaluate, that of one method is enough where others use the same parts.
    """
    compared = set[tuple[object, ...]]()

    def is_wanted(instance: Instance) -> bool:
        names = parts(instance)
        use = (instance.stage, *instance.arguments[1:], *names)
        is_repeated = instance.stage in ("teach", "evaluate") and use in compared
        compared.add(use)
        if is_repeated or (instance.stage == "report" and experiment == WITHOUT_REPORT):
            return False
        return any(name in changes for name in names)

    return is_wanted


def _record(parts: Collection[str], rising: Mapping[str, str], kept: Mapping[str, str]) -> Mapping[str, Any]:
    """Writes and returns revisions.json. What runs again is noted in the newest release of CHANGELOG.md."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    for name in parts:
        row = table.setdefault(name, {"revision": 1, "reasons": {"1": "new"}})
        if name in rising:
            row["revision"] += 1
            row["reasons"][str(row["revision"])] = rising[name]
        if name in kept:
            row.setdefault("kept", []).append(kept[name])
    _write({name: row for name, row in table.items() if name in parts})
    if rising:
        text = CHANGELOG.read_text(encoding="utf-8")
        start = text.index("\n## ") + 1
        end = text.find("\n## ", start)
        newest, rest = (text[start:end], text[end:]) if end > 0 else (text[start:], "")
        lines = "".join(f"- {name}: {why}\n" for name, why in rising.items())
        if HEADING not in newest:
            newest = f"{newest.rstrip()}\n\n{HEADING}\n"
        newest = newest.replace(f"{HEADING}\n", f"{HEADING}\n{lines}", 1)
        CHANGELOG.write_text(f"{text[:start]}{newest}{rest}", encoding="utf-8")
    return table  # type: ignore[no-any-return]


def _write(table: Mapping[str, Any]) -> None:
    for path, content, indent in ((TABLE, table, 1), (ROOT / VERIFIED, verified_content(CodeBase(ROOT)), 0)):
        path.write_text(json.dumps(content, indent=indent, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
