"""`make revisions`: decides whether a change of the code changes what a stage writes, and records the answer.

It runs small experiments with the verified code, that of the commit that wrote verified_code.json, and with the code of
the working tree. A part keeps its revision where every stage that uses it wrote the same bytes, every changed function
of the part ran, and no data file of it changed. Otherwise its revision rises. The reason is in revisions.json and
CHANGELOG.md. The results of the verified code are kept for the next time.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

from gift_core.code.fingerprint import REVISIONS, VERIFIED, Code, digest_of
from recipes.revisions.decide import changes_of, decide, missed
from recipes.revisions.experiments import EXPERIMENTS
from recipes.revisions.probe import ROOT, Probe, Use

TABLE, CHANGELOG = ROOT / REVISIONS, ROOT / "CHANGELOG.md"
KEPT = ROOT / ".gift" / "revisions"  # the results of the verified code


def main() -> None:
    """Decides, writes the two tables, and prints what it decided."""
    verified = _git("log", "-1", "--format=%H", "--", VERIFIED)
    with tempfile.TemporaryDirectory(prefix="gift-revisions-") as folder:
        _git("archive", "--output", f"{folder}/verified.tar", verified)
        for each in ("verified", *EXPERIMENTS):
            shutil.unpack_archive(f"{folder}/verified.tar", f"{folder}/{each}")
        new, old = Code(ROOT), Code(Path(folder, "verified"))
        with ThreadPoolExecutor(2) as threads:
            found = threads.map(lambda name: _experiment(old, new, Path(folder, name)), EXPERIMENTS)
            decided = decide(old, new, [use for uses in found for use in uses])
    rising = {part: why for part, why in decided.items() if why}
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    for part, why in rising.items():
        row = table.setdefault(part, {"revision": 1, "reasons": {"1": "the first one"}})
        row["revision"] += 1
        row["reasons"][str(row["revision"])] = why
        print(f"{part}: revision {row['revision']}: {why}")  # noqa: T201
    for path, content, indent in ((TABLE, table, 1), (ROOT / VERIFIED, new.record(), 0)):
        path.write_text(json.dumps(content, indent=indent, sort_keys=True) + "\n", encoding="utf-8")
    opening, heading, others = CHANGELOG.read_text(encoding="utf-8").partition("### Runs again\n\n")
    noted = "".join(f"- {part}: {why}\n" for part, why in rising.items())
    CHANGELOG.write_text(f"{opening}{heading}{noted}{others}", encoding="utf-8")
    print(f"{len(decided) - len(rising)} changed parts keep their revision, {len(rising)} rise.")  # noqa: T201


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _experiment(old: Code, new: Code, project: Path) -> list[Use]:
    """Returns the stages of an experiment whose code changed, with what they did.

    Of teach and evaluate, that of one method is enough where others use the same parts. The report of all methods takes
    long, and those of the other experiments run the same code.
    """
    libraries = sorted((each.name, each.version) for each in distributions())
    kept = KEPT / digest_of(repr((platform.uname(), libraries)).encode()) / project.name
    probe, wanted = Probe(project, project.name, kept), dict[object, Use]()
    for use in probe.uses:
        use.changes = changes_of(old, new, use)
        if use.changes and (use.stage, project.name) != ("report", "methods"):
            same = tuple(use.options) if use.stage in ("teach", "evaluate") else use.names
            wanted.setdefault((use.stage, same), use)
    for use in probe.run([*wanted.values()]) if wanted else ():
        if lost := missed(new, use):
            sys.exit(f"error: {lost[0]} ran in {use.names}, which does not import it. Import it where it is used.")
        said = "it reads other bytes than before" if use.difference is None else "same bytes"
        print(f"  {project.name}: {use.names}: {use.difference or said}", flush=True)  # noqa: T201
    return [*wanted.values()]


if __name__ == "__main__":
    main()
