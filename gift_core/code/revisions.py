"""What the stage check writes of the code: revisions of its parts, and what was edited since they were verified.

A part is a stage, or what an option adds to it: "finetune", "finetune losses.distill", "ingest source.folder". A stage
that uses a part runs again when the revision of the part rises, and not when only its code changes. revisions.json has
the parts whose revision ever rose, with the reason for each revision; that of all others is 1. verified_code.json has
the hashes of the code that was verified with these revisions. Code with another hash was edited, and counts by its hash
(docs/decisions/0064-revisions.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gift_core.code.fingerprint import REVISIONS, WORK, Code, category, is_new_section
from gift_core.layout import CODE

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

STAGES = (
    "import_model", "ingest", "probe", "write_vocabulary", "write_prompts", "synthesize", "teach", "finetune",
    "evaluate", "report",
)  # fmt: skip


def code_files(code: Code, config: Config) -> dict[str, dict[str, Any]]:
    """Returns {path below the project: content} of all files in data/code."""
    uses = ((stage, name) for stage in STAGES for name in options_of(stage, config))
    return {code_file(stage, name): state(code, stage, name, config) for stage, name in uses}


def code_file(stage: str, name: str) -> str:
    """Returns the path of a file in data/code. A stage of a task or a method has one of its own: finetune/gift.json."""
    return f"{CODE}{stage}/{name}.json" if name else f"{CODE}{stage}.json"


def state(code: Code, stage: str, name: str, config: Config) -> dict[str, Any]:
    """Returns the content of code_file: revisions, code that was edited, and what a stage depends on of a method's row.

    DVC can depend on a whole row alone, but an edit of `release` or `label` trains nothing.
    """
    options, table = options_of(stage, config)[name], read_table(code)
    parts = [stage, *(f"{stage} {option}" for option in options)]
    content: dict[str, Any] = {"revisions": {part: table.get(part, {"revision": 1})["revision"] for part in parts}}
    if edits := edited(code, stage, options):
        content["edited"] = edits
    if stage == "finetune":
        content["settings"] = config.methods[name].trained_settings
    if stage == "evaluate":
        content["settings"] = config.methods[name].model_dump(mode="json", include={"release"}, exclude_none=True)
    if stage == "report":
        labels = {method: config.methods[method].label for method in config.run.methods}
        if labeled := {method: {"label": label} for method, label in labels.items() if label is not None}:
            content["settings"] = labeled
    return content


def read_table(code: Code) -> dict[str, Any]:
    """Returns the rows of revisions.json by part: its "revision", and in "reasons" why each of its revisions began."""
    return json.loads((code.root / REVISIONS).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def edited(code: Code, stage: str, options: Collection[str] | None = None) -> dict[str, str]:
    """Returns {unit or data file: hash} of what is not as verified. `options`: as Code.reached."""
    found = code.reached(stage, options).values() if code.edited_files else ()
    return {
        key: digest
        for key, digest in sorted(row for units in found for row in units.items())
        if code.verified.get(key, [""])[-1] != digest
        and category(key) != WORK
        and not is_new_section(key, code.verified)
    }


def options_of(stage: str, config: Config) -> dict[str, list[str]]:
    """Returns the options that choose code of the stage, sorted, for each task or method that has a file of its own."""
    if stage == "ingest":
        return {name: [f"source.{task.source}"] for name, task in config.tasks.items()}
    if stage == "synthesize":
        return {"": ["filters"] if config.generator.filters else []}
    if stage not in ("teach", "finetune", "evaluate"):
        return {"": []}
    found = dict[str, list[str]]()
    for name in config.run.methods:
        row = config.methods[name]
        replay = [f"replay.{row.replay.images}"]
        if stage == "evaluate":
            chosen = ["release"] if row.release else []
        elif stage == "teach":
            chosen = [*replay, "fisher"] if getattr(row.replay, "fisher", None) else replay
        else:
            chosen = replay + [f"losses.{loss}" for loss, _ in row.losses.items()]
            chosen += [f"{slot}.{kind.kind}" for slot in ("consolidation", "trains") if (kind := getattr(row, slot))]
            chosen += [slot for slot in ("average", "merge", "layer_decay") if getattr(row, slot) is not None]
        found[name] = sorted(chosen)
    return found
