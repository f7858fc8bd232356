"""The presets: which there are, what each contains and needs, and how one becomes params.yaml.

A preset whose first key is `base` is an overlay. A section on several lines is merged into the base's key by key.
Everything else (a value, a list, a section in braces) replaces what the base has. `!replace` in front of a section
replaces it as a whole, `!delete` removes a key. The comment of a changed key stays, unless the overlay has its own.
`class_slices` stands for the sections tasks and sequence of a class-incremental experiment, `lwf: catalogue` for a row
of the catalogue of methods.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from gift_core.config.checks import START
from gift_core.config.editing import row_text
from gift_core.config.experiment import Config, looks_local
from gift_core.config.loading import parse_config, parse_part, parse_settings, read_settings
from gift_core.config.params_edit import CATALOGUE, ParamsEdit, read_catalogue
from gift_core.config.section import MAX_NAMES, Count, Section, Text
from gift_core.config.yaml_text import Document, Edit, Entry, is_block, is_section, moved, text_of
from gift_core.errors import UserError, did_you_mean, lookup
from gift_core.layout import shipped_root
from gift_core.untrusted import parse_yaml
from gift_core.work.publishing import write_atomically

PROJECT = ("params.yaml", "dvc.yaml", "presets")  # a project has at least one of them
REPLACE, DELETE = "!replace", "!delete"
FROM_CATALOGUE = "catalogue"


@dataclass(frozen=True)
class Summary:
    """A preset in one line. `iterations` are per task; `needs` is what a fresh clone does not have."""

    name: str
    title: str
    tasks: int
    iterations: int
    methods: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Switch(ParamsEdit):
    """A preset about to become params.yaml, which is empty where there is none.

    `backup` is where the present file is kept; None if it can be written again from a preset.
    """

    preset: Path
    backup: Path | None

    def carry_out(self) -> None:
        """Writes the backup, then replaces params.yaml atomically: after an error (OSError) it is unchanged."""
        if self.backup is not None:
            with write_atomically(self.backup) as temporary:
                temporary.write_bytes(self.before.encode())
        super().carry_out()


def origin_of(params: Path, presets: Mapping[str, Path]) -> tuple[str | None, int] | None:
    """Returns the preset that the key `experiment` of a params.yaml names, and the number of lines that differ from it.

    (None, 0) for an experiment of its own. None if the file is missing or not readable.
    """
    try:
        text = read_settings(params)
        preset = presets.get(str(parse_settings(text, params.name).get("experiment")))
        if preset is None:
            return None, 0
        whole = complete_text(preset)
    except UserError:
        return None
    changes = SequenceMatcher(None, whole.split("\n"), text.split("\n"), autojunk=False).get_opcodes()
    return preset.stem, sum(max(b - a, d - c) for tag, a, b, c, d in changes if tag != "equal")


def find_presets(root: Path) -> dict[str, Path]:
    """Returns {name: file}, sorted: root/presets, and of those that come with GIFT the other names."""
    folders = (shipped_root() / "presets", root / "presets")  # a later one replaces an earlier one of its name
    presets = {file.stem: file for folder in folders for file in folder.glob("*.yaml") if file.name != CATALOGUE}
    return dict(sorted(presets.items()))


def load_preset(preset: Path) -> Config:
    """Returns the experiment in a preset's file, merged into its base. UserError if it is not valid."""
    return parse_config(complete_text(preset), preset.name)


def summarize(preset: Path) -> Summary:
    """Returns what `gift presets` and `gift use` say of a preset's file. UserError if it is not valid."""
    config = load_preset(preset)
    opening = takewhile(lambda line: line.startswith("#"), preset.read_text(encoding="utf-8").splitlines())
    words = " ".join(line.removeprefix("#").strip() for line in opening)
    return Summary(
        name=preset.stem,
        title=re.split(r"(?<=\.)\s", words, maxsplit=1)[0],
        tasks=len(config.sequence),
        iterations=config.training.iterations,
        methods=config.run.methods,
        needs=needs_of(config),
    )


def needs_of(config: Config) -> tuple[str, ...]:
    """Returns what the experiment needs in addition to a fresh clone and two CPU cores, of: hub, GPU, data.

    hub: the model or the generator is not on this machine. GPU: images are generated in half precision. data: a task is
    not part of the miniature benchmark, or there is no task yet.
    """
    model, generator = config.model, config.generator
    pretrained_is_file = "/" in (model.pretrained or "")
    model_is_local = model.name.startswith(("local-dir:", "local-file:")) or pretrained_is_file
    needs = {
        "hub": not (model_is_local and looks_local(generator.pipeline)),
        "GPU": generator.dtype != "float32",
        "data": not config.tasks or any(task.source != "mini" for task in config.tasks.values()),
    }
    return tuple(name for name, needed in needs.items() if needed)


def plan_switch(root: Path, name: str) -> Switch:
    """Returns the change that makes the preset `name` the active experiment; nothing is written.

    UserError for an unknown name, a preset that is not valid, a params.yaml that cannot be read, and a folder that is
    no project. A params.yaml that is not, byte for byte, what a preset gives is kept as the first free
    params.backup-N.yaml.
    """
    presets = find_presets(root)
    preset = lookup(presets, name, "gift use: presets")
    params = root / "params.yaml"
    if not any((root / file).exists() for file in PROJECT):
        remedy = "Run in a project's root, name it with --root, or make a project: gift init DIR"
        raise UserError(f"{root.resolve()}: is no project, it has no params.yaml. {remedy}")
    before = read_settings(params) if params.exists() else ""
    after = complete_text(preset)
    active, changed = origin_of(params, presets) or (None, 0)
    backup = None
    if before and (active is None or changed):
        names = (params.with_name(f"params.backup-{number}.yaml") for number in itertools.count(1))
        backup = next(name for name in names if not name.exists())
    return Switch(params, before, after, parse_config(after, preset.name), preset, backup)


class ClassSlices(Section):
    """A data set's classes as tasks: `base_classes` in the first task (0: no such task), then `steps` equal tasks."""

    dataset: Text
    base_classes: Annotated[int, Field(ge=0, le=10_000_000)]
    classes_per_step: Count
    steps: Annotated[int, Field(ge=1, lt=MAX_NAMES)]


def complete_text(preset: Path) -> str:
    """Returns the text of a complete params file: the preset itself, or the result of merging it into its base.

    The base lies beside the preset, or is one that comes with GIFT.
    UserError for files that cannot be read and overlays that cannot be merged. The values are not checked.
    """
    text = read_settings(preset)
    overlay = Document.parse(text, preset.name)
    if overlay.find("base") is None:
        return _with_catalogue(text, preset)
    if overlay.find("class_slices") is not None:
        overlay = _with_expanded_slices(overlay, preset.name)
    changes = overlay.entries(overlay.root)
    named = changes.pop("base")
    title = overlay.text[: named.start]
    path = _base_of(preset, named.value.value)
    base = Document.parse(_with_catalogue(read_settings(path), path), path.name)
    present = base.entries(base.root)
    if "base" in present:
        raise UserError(f"{preset.name}: base: {path.stem} has a base itself. Name a complete preset.")
    # the overlay's title replaces the base's, which is the first paragraph of its opening comment
    start = next(iter(present.values())).start
    rest = dropwhile(lambda line: line.startswith("#") and line != "#\n", base.text[:start].splitlines(keepends=True))
    edits = [(0, start, "".join([title, *rest])), *_merged(base, present, overlay, changes, preset.name)]
    return _with_catalogue(base.edited(edits), preset)


def _base_of(preset: Path, name: str) -> Path:
    """The file of the base: beside the preset, or one that comes with GIFT. UserError for an unknown name."""
    for folder in (preset.parent, shipped_root() / "presets"):
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = [file.stem for file in preset.parent.glob("*.yaml") if file != preset]
    raise UserError(f"{preset.name}: base: unknown preset {name!r}. {did_you_mean(name, known)}")


def _with_catalogue(text: str, preset: Path) -> str:
    """The text with the rows of the catalogue in place of `lwf: catalogue`. UserError for an unknown name."""
    document = Document.parse(text, preset.name)
    methods = document.find("methods")
    rows = document.entries(methods) if is_section(methods) else {}
    named = {name: row for name, row in rows.items() if row.value.value == FROM_CATALOGUE}
    if not named:
        return text
    model = document.find("model", "name").value
    iterations = int(document.find("training", "iterations").value)
    known = read_catalogue(preset.parent, model=model, iterations=iterations)
    edits = []
    for name, row in named.items():
        method = lookup(known, name, f"{preset.name}: methods: catalogue")
        new = row_text(name, method.text, method.about, document.comment(row)[0] - row.indent)
        edits.append((row.start, row.end, moved(new, row.indent)))
    return document.edited(edits)


def _merged(
    base: Document, entries: Mapping[str, Entry], overlay: Document, changes: Mapping[str, Entry], name: str
) -> list[Edit]:
    """The edits of entries of the base that those of the overlay, the file `name`, ask for."""
    edits, added = list[Edit](), ""
    last = [*entries.values()][-1]
    for key, new in changes.items():
        old = entries.get(key)
        above = overlay.text[new.above : new.start]
        deeper = last.indent - new.indent
        if new.value.tag == DELETE:
            if old is None:
                raise UserError(f"{name}: {key}: the base has no such key to delete. {did_you_mean(key, entries)}")
            edits.append((old.above, old.end, ""))
        elif old is None:
            lines = overlay.text[new.start : new.end]
            added += moved(above + (lines.replace(f" {REPLACE}", "", 1) if new.value.tag == REPLACE else lines), deeper)
        else:
            if "#" in above:
                blank = "\n" if base.text[old.above] == "\n" else ""
                edits.append((old.above, old.start, blank + moved(above.lstrip("\n"), deeper)))
            if new.value.tag != REPLACE and is_section(old.value) and is_section(new.value):
                edits += _merged(base, base.entries(old.value), overlay, overlay.entries(new.value), name)
            else:
                edits.append((old.start, old.end, _replaced(base, old, overlay, new)))
    return [*edits, (last.end, last.end, added)]


def _replaced(base: Document, old: Entry, overlay: Document, new: Entry) -> str:
    """The lines of an entry of the base with the value of the overlay, and its comment if it has one."""
    line, lines = base.text[old.start : old.colon], ""
    if is_block(new.value):
        lines = moved(overlay.text[overlay.text.index("\n", new.colon) + 1 : new.end], old.indent - new.indent)
    elif value := overlay.text[new.colon : new.last].strip().removeprefix(REPLACE).strip():
        line += f" {value}"
    comments = [overlay.comment(new), base.comment(old)]
    written = [(column, text) for column, text in comments if text]
    if written:
        line = f"{line:<{max(written)[0] - 1}} {written[0][1]}"
    return f"{line}\n{lines}"


def _with_expanded_slices(overlay: Document, name: str) -> Document:
    """The overlay with the sections that class_slices stands for in its place. `name`: of the overlay's file."""
    slices = overlay.entry("class_slices")
    written = parse_yaml(overlay.text[slices.start : slices.end])["class_slices"]
    sections = _expanded(parse_part(ClassSlices, written, name=name, key="class_slices"))
    return Document.parse(overlay.edited([(slices.start, slices.end, sections)]), name)


def _expanded(slices: ClassSlices) -> str:
    """The sections tasks and sequence that class_slices stands for, in place of those of the base."""
    counts = [slices.classes_per_step] * slices.steps
    if slices.base_classes:
        counts.insert(0, slices.base_classes)
    tasks, sequence = "", list[dict[str, Any]]()
    first, before = 0, START
    data = text_of({"source": "catalogue", "dataset": slices.dataset, "path": f"data/0_raw/{slices.dataset}"})
    for number, count in enumerate(counts):
        task = f"{slices.dataset}_{number:02d}"
        classes = f"classes: {{order: benchmark, first: {first}, count: {count}}}\n"
        tasks += f"  {task}:\n{textwrap.indent(data + classes, '    ')}"
        sequence.append({"task": task, "after": before, "learning_rate_factor": 1.0})
        first += count
        before = task
    return f"tasks: {REPLACE}\n{tasks}sequence: {REPLACE}\n{text_of(sequence)}"
