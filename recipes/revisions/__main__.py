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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gift_core.code.fingerprint import REVISIONS, VERIFIED, Code
from recipes.revisions.decide import Changes, changes_of, decide, missed
from recipes.revisions.experiments import EXPERIMENTS
from recipes.revisions.probe import Outcome, Probe, Use

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
    new, started = Code(ROOT), time.monotonic()
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    record = {
        f"{folder}/{name}": row.split()[-1] for folder, rows in new.record().items() for name, row in rows.items()
    }
    if record == {key: row[-1] for key, row in new.verified.items()}:
        if new.edited_files:  # comments, texts
            _write(table)
        print("The code is the verified one: there is nothing to do.")  # noqa: T201
        return
    with _verified_code() as folder:
        old = Code(folder)
        outcomes = list(_outcomes(old, new))
        rising = dict(decide(old, new, outcomes))
    changed = sorted({part for _, changes in outcomes for part in changes})
    if unknown := sorted({*chosen.keep} - {*changed}):
        sys.exit(f"error: --keep {unknown[0]}: this part did not change. Changed: {', '.join(changed)}")
    rising = {part: why for part, why in rising.items() if part not in chosen.keep}
    for part in (*rising, *chosen.keep):
        row = table.setdefault(part, {"revision": 1, "reasons": {"1": "the first one"}})
        if part in rising:
            row["revision"] += 1
            row["reasons"][str(row["revision"])] = rising[part]
            print(f"{part}: revision {row['revision']}: {rising[part]}")  # noqa: T201
        else:
            row.setdefault("kept", []).append(chosen.reason)
    _write(table)
    _note(rising)
    kept, seconds = len(changed) - len(rising), time.monotonic() - started
    print(f"{kept} changed parts keep their revision, {len(rising)} rise ({seconds:.0f} s).")  # noqa: T201


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


def _outcomes(old: Code, new: Code) -> Iterator[tuple[Outcome, Changes]]:
    """Yields the outcome of each stage of the experiments whose code changed, with what changed of it.

    Of teach and evaluate, that of one method is enough where others use the same parts, and of the report one without
    all methods.
    """
    for experiment in EXPERIMENTS:
        with tempfile.TemporaryDirectory(prefix="gift-probe-") as place:
            probe = Probe(Path(place), experiment, new.root, old.root)
            wanted, compared = dict[Use, Changes](), set[object]()
            for use in probe.uses:
                is_repeated = (use.stage, use.options) in compared and use.stage in ("teach", "evaluate")
                compared.add((use.stage, use.options))
                changes = changes_of(old, new, use)
                if changes and not is_repeated and (use.stage, experiment) != ("report", WITHOUT_REPORT):
                    wanted[use] = changes
            for outcome in probe.run(wanted):
                if lost := missed(new, outcome):
                    sys.exit(f"error: {lost[0]} ran in {outcome.use}, which does not depend on it: {MISSED}")
                said = "it reads other bytes than before" if outcome.difference is None else "same bytes"
                print(f"  {experiment}: {outcome.use}: {outcome.difference or said}", flush=True)  # noqa: T201
                yield outcome, wanted[outcome.use]


def _note(rising: Mapping[str, str]) -> None:
    """Notes in the newest release of CHANGELOG.md what runs again."""
    text = CHANGELOG.read_text(encoding="utf-8")
    start = text.index("\n## ") + 1
    end = text.find("\n## ", start) if "\n## " in text[start:] else len(text)
    newest = text[start:end]
    if rising and HEADING not in newest:
        newest = f"{newest.rstrip()}\n\n{HEADING}\n"
    lines = "".join(f"- {name}: {why}\n" for name, why in rising.items())
    newest = newest.replace(f"{HEADING}\n", f"{HEADING}\n{lines}", 1)
    CHANGELOG.write_text(f"{text[:start]}{newest}{text[end:]}", encoding="utf-8")


def _write(table: Mapping[str, Any]) -> None:
    for path, content, indent in ((TABLE, table, 1), (ROOT / VERIFIED, Code(ROOT).record(), 0)):
        path.write_text(json.dumps(content, indent=indent, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
