"""The presets: which there are, what each contains and needs, and how one becomes params.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path

from gift_core.config.experiment import Config
from gift_core.config.generator import looks_local
from gift_core.config.loading import parse_config, parse_settings, read_settings
from gift_core.config.method_catalogue import CATALOGUE
from gift_core.config.overlays import complete_text
from gift_core.config.params_edit import ParamsEdit
from gift_core.errors import UserError, lookup
from gift_core.shipped import shipped_root
from gift_core.work.publishing import write_atomically

PROJECT = ("params.yaml", "dvc.yaml", "presets")  # a project has at least one of them
_FIRST_SENTENCE = re.compile(r"(.*?\.)(?:\s|$)")


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

    @property
    def changes(self) -> bool:
        """Whether params.yaml would differ afterwards."""
        return self.before != self.after

    def carry_out(self) -> None:
        """Writes the backup, then replaces params.yaml atomically: after an error (OSError) it is unchanged."""
        if self.backup is not None:
            with write_atomically(self.backup) as unfinished:
                unfinished.write_bytes(self.before.encode())
        super().carry_out()


@dataclass(frozen=True)
class Origin:
    """What params.yaml is: the preset that its key `experiment` names (None: an experiment of its own), and the number
    of lines that differ from it."""

    preset: str | None
    changed_lines: int = 0


def origin_of(params: Path, presets: Mapping[str, Path]) -> Origin | None:
    """Returns the preset that a params.yaml was made from, and what differs. None if it is missing or not readable."""
    try:
        text = read_settings(params)
        preset = presets.get(str(parse_settings(text, params.name).get("experiment")))
        if preset is None:
            return Origin(None)
        whole = complete_text(preset)
    except UserError:
        return None
    changes = SequenceMatcher(None, whole.split("\n"), text.split("\n"), autojunk=False).get_opcodes()
    return Origin(preset.stem, sum(max(b - a, d - c) for tag, a, b, c, d in changes if tag != "equal"))


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
    sentence = _FIRST_SENTENCE.match(words)
    return Summary(
        name=preset.stem,
        title=sentence[1] if sentence else words,
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
    model_is_local = model.name.startswith(("local-dir:", "local-file:")) or "/" in (model.pretrained or "")
    found = {
        "hub": not (model_is_local and looks_local(generator.pipeline)),
        "GPU": generator.dtype != "float32",
        "data": not config.tasks or any(task.source != "mini" for task in config.tasks.values()),
    }
    return tuple(name for name, needed in found.items() if needed)


def plan_switch(root: Path, name: str) -> Switch:
    """Returns the change that makes the preset `name` the active experiment; nothing is written.

    UserError for an unknown name, a preset that is not valid, a params.yaml that cannot be read, and a folder that is
    no project. A params.yaml that is not, byte for byte, what a preset gives is kept as the first free
    params.backup-N.yaml.
    """
    presets = find_presets(root)
    preset = lookup(presets, name, "gift use: presets")
    params = root / "params.yaml"
    if not any((root / each).exists() for each in PROJECT):
        remedy = "Run in a project's root, name it with --root, or make a project: gift init DIR"
        raise UserError(f"{root.resolve()}: is no project, it has no params.yaml. {remedy}")
    before, after = read_settings(params) if params.exists() else "", complete_text(preset)
    backup, origin = None, origin_of(params, presets)
    if before and (origin is None or origin.preset is None or origin.changed_lines):
        number = 1
        while (backup := params.with_name(f"params.backup-{number}.yaml")).exists():
            number += 1
    return Switch(params, before, after, parse_config(after, preset.name), preset, backup)
