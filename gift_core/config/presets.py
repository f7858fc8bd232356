"""The presets: which there are, what each contains and needs, and how one becomes params.yaml.

A preset whose first key is `base` is an overlay. A section on several lines is merged into the base's key by key.
Everything else (a value, a list, a section in braces) replaces what the base has. `!replace` in front of a section
replaces it as a whole, `!delete` removes a key. The comment of a changed key stays, unless the overlay has its own.
`class_slices` stands for the sections tasks and sequence of a class-incremental experiment, `lwf: catalogue` for a row
of the catalogue of methods.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from gift_core.config.checks import START
from gift_core.config.editing import Document, add_above, add_row, comment_of, is_block, on_one_line, take_above
from gift_core.config.experiment import Config, looks_local
from gift_core.config.loading import parse_config, parse_part, parse_settings, read_settings
from gift_core.config.params_edit import CATALOGUE, ParamsEdit, read_catalogue
from gift_core.config.section import MAX_NAMES, Count, Section, Text
from gift_core.errors import UserError, did_you_mean, lookup
from gift_core.layout import shipped_root
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
    document = Document.parse(text, preset.name)
    overlay = document.content
    if "base" not in overlay:
        return document.text() if _fill_from_catalogue(document, preset) else text
    name = str(overlay.pop("base"))
    files = (preset.parent / f"{name}.yaml", shipped_root() / "presets" / f"{name}.yaml")
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        known = [file.stem for file in preset.parent.glob("*.yaml") if file != preset]
        raise UserError(f"{preset.name}: base: unknown preset {name!r}. {did_you_mean(name, known)}")
    base = Document.parse(read_settings(path), path.name)
    if "base" in base.content:
        raise UserError(f"{preset.name}: base: {path.stem} has a base itself. Name a complete preset.")
    _fill_from_catalogue(base, path)
    # the overlay's title replaces the base's, which is the first paragraph of its opening comment
    rest = dropwhile(lambda line: line.startswith("#") and line != "#", _opening(base.content))
    opening = "".join(f"{line}\n" for line in [*_opening(overlay), *rest])
    base.content.ca.comment = [None, [comment_of(opening)]]
    if "class_slices" in overlay:
        above = take_above(overlay, "class_slices")
        overlay.update(_expand(overlay.pop("class_slices"), preset.name))
        add_above(overlay, "tasks", above)
    _merge(base.content, overlay, preset.name)
    _fill_from_catalogue(base, preset)
    return base.text()


def _opening(content: Any) -> list[str]:
    """The lines of the comment above the first entry."""
    tokens = (content.ca.comment or (None, None))[1] or ()
    return "".join(token.value for token in tokens).splitlines()


def _fill_from_catalogue(document: Document, preset: Path) -> bool:
    """Puts the rows in place of `lwf: catalogue`. Returns whether there was one. UserError for an unknown name."""
    methods = document.content.get("methods")
    names = [name for name in methods or () if methods[name] == FROM_CATALOGUE]
    if names:
        model = document.content["model"]["name"]
        iterations = document.content["training"]["iterations"]
        known = read_catalogue(preset.parent, model=model, iterations=iterations)
        for name in names:
            method = lookup(known, name, f"{preset.name}: methods: catalogue")
            add_row(methods, name, copy.deepcopy(method.row), method.about, beside=name)
    return bool(names)


def _merge(base: Any, overlay: Any, name: str) -> None:
    """Changes the base as the overlay says. `name` is the overlay's file, for errors."""
    for key, new in overlay.items():
        above = take_above(overlay, key)
        tag = new.tag.value if hasattr(new, "tag") else None
        if tag == DELETE:
            if key not in base:
                raise UserError(f"{name}: {key}: the base has no such key to delete. {did_you_mean(key, base)}")
            base.ca.items.pop(key, None)
            del base[key]
            continue
        if "#" in above or key not in base:
            blank = "\n" if take_above(base, key).startswith("\n") else ""
            add_above(base, key, blank + above.lstrip("\n") if key in base else above)
        if tag != REPLACE and _is_section(base.get(key)) and _is_section(new):
            _merge(base[key], new, name)
            continue
        if tag == REPLACE:
            delattr(new, "_yaml_tag")
        base[key] = new
        end_of_line = (overlay.ca.items.get(key) or [None] * 4)[2]
        if end_of_line:
            comments = base.ca.items.setdefault(key, [None] * 4)
            if comments[2]:
                end_of_line.column = max(comments[2].column, end_of_line.column)
            comments[2] = end_of_line


def _is_section(value: Any) -> bool:
    """Whether the value is a section on several lines, which is merged key by key."""
    return isinstance(value, dict) and bool(value) and is_block(value)


def _expand(slices: Any, name: str) -> dict[str, Any]:
    """Returns the sections tasks and sequence that class_slices stands for."""
    section = parse_part(ClassSlices, slices, name=name, key="class_slices")
    counts = [section.classes_per_step] * section.steps
    if section.base_classes:
        counts.insert(0, section.base_classes)
    data = {"source": "catalogue", "dataset": section.dataset, "path": f"data/0_raw/{section.dataset}"}
    tasks = dict[str, Any]()
    sequence = list[Any]()
    first = 0
    before = START
    for count in counts:
        task = f"{section.dataset}_{len(tasks):02d}"
        classes = on_one_line({"order": "benchmark", "first": first, "count": count})
        tasks[task] = {**data, "classes": classes}
        sequence.append({"task": task, "after": before, "learning_rate_factor": 1.0})
        first += count
        before = task
    return {"tasks": tasks, "sequence": sequence}
