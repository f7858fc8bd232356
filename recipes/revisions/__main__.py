"""`make revisions`: decides whether a change of the code changes what a stage writes, and records the answer.

It runs small experiments with the verified code, that of the commit that wrote verified_code.json, and with the code of
the working tree. A part keeps its revision where every stage that uses it wrote the same bytes, every changed function
of the part ran, and no data file of it changed. Otherwise its revision rises. The reason is in revisions.json and
CHANGELOG.md. The results of the verified code are kept for the next time.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

from gift_core.code.fingerprint import REVISIONS, VERIFIED, Code, digest_of
from recipes.revisions.decide import Changes, changes_of, decide, missed
from recipes.revisions.experiments import EXPERIMENTS
from recipes.revisions.probe import Outcome, Probe, Use

ROOT = Path(__file__).resolve().parents[2]
TABLE, CHANGELOG = ROOT / REVISIONS, ROOT / "CHANGELOG.md"
KEPT = ROOT / ".gift" / "revisions"  # the results of the verified code
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
    started, table = time.monotonic(), json.loads(TABLE.read_text(encoding="utf-8"))
    commit = _git("log", "-1", "--format=%H", "--", VERIFIED)
    if not commit:
        sys.exit(f"error: {VERIFIED} is in no commit. Commit it with the code that it describes.")
    with tempfile.TemporaryDirectory(prefix="gift-revisions-") as folder:
        _git("archive", "--output", f"{folder}/verified.tar", commit)
        for each in ("verified", *EXPERIMENTS):
            shutil.unpack_archive(f"{folder}/verified.tar", f"{folder}/{each}")
        new, old = Code(ROOT), Code(Path(folder, "verified"))
        with ThreadPoolExecutor(2) as threads:
            found = threads.map(lambda name: _outcomes(old, new, Path(folder, name)), EXPERIMENTS)
            outcomes = [each for listed in found for each in listed]
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
    for path, content, indent in ((TABLE, table, 1), (ROOT / VERIFIED, new.record(), 0)):
        path.write_text(json.dumps(content, indent=indent, sort_keys=True) + "\n", encoding="utf-8")
    _note(rising)
    if chosen.keep:
        shutil.rmtree(KEPT, ignore_errors=True)  # no longer those of the code with these revisions
    kept, seconds = len(changed) - len(rising), time.monotonic() - started
    print(f"{kept} changed parts keep their revision, {len(rising)} rise ({seconds:.0f} s).")  # noqa: T201


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _outcomes(old: Code, new: Code, project: Path) -> list[tuple[Outcome, Changes]]:
    """Returns the outcome of each stage of an experiment whose code changed, with what changed of it.

    Of teach and evaluate, that of one method is enough where others use the same parts, and of the report one without
    all methods.
    """
    experiment = project.name
    libraries = sorted((each.name, each.version) for each in distributions())
    kept = KEPT / digest_of(repr((platform.uname(), libraries)).encode()) / experiment
    probe = Probe(project, experiment, new.root, kept)
    wanted, compared = dict[Use, Changes](), set[object]()
    for use in probe.uses:
        is_repeated = (use.stage, use.options) in compared and use.stage in ("teach", "evaluate")
        compared.add((use.stage, use.options))
        changes = changes_of(old, new, use)
        if changes and not is_repeated and (use.stage, experiment) != ("report", WITHOUT_REPORT):
            wanted[use] = changes
    outcomes = []
    for outcome in probe.run(wanted):
        if lost := missed(new, outcome):
            sys.exit(f"error: {lost[0]} ran in {outcome.use}, which does not depend on it: {MISSED}")
        said = "it reads other bytes than before" if outcome.difference is None else "same bytes"
        print(f"  {experiment}: {outcome.use}: {outcome.difference or said}", flush=True)  # noqa: T201
        outcomes.append((outcome, wanted[outcome.use]))
    return outcomes


def _note(rising: Mapping[str, str]) -> None:
    """Notes in the newest release of CHANGELOG.md what runs again."""
    opening, newest, *older = re.split(r"(?m)^(?=## )", CHANGELOG.read_text(encoding="utf-8"), maxsplit=2)
    if rising and HEADING not in newest:
        newest = f"{newest.rstrip()}\n\n{HEADING}\n{chr(10) * len(older)}"
    lines = "".join(f"- {name}: {why}\n" for name, why in rising.items())
    newest = newest.replace(f"{HEADING}\n", f"{HEADING}\n{lines}", 1)
    CHANGELOG.write_text("".join([opening, newest, *older]), encoding="utf-8")


if __name__ == "__main__":
    main()
