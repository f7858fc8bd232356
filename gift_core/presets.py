"""Whole params files to start from: which there are, what each is and needs, and how one becomes params.yaml."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from gift_core.artifacts.atomic import write_atomically
from gift_core.config import Config, load_config
from gift_core.errors import UserError, lookup
from gift_core.generators.pretrained import looks_local

_FIRST_SENTENCE = re.compile(r"(.*?\.)(?:\s|$)")


@dataclass(frozen=True)
class Summary:
    """A preset in a line: `steps` are those of training a task takes, `needs` what a bare clone does not have."""

    name: str
    title: str
    tasks: int
    steps: int
    methods: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Switch:
    """A preset about to become params.yaml. `backup` is where the file that lies there is kept; None: nothing is lost.

    `before` is None where there is no params.yaml.
    """

    preset: Path
    params: Path
    before: str | None
    after: str
    backup: Path | None

    @property
    def changes(self) -> bool:
        """Whether params.yaml would be another one afterwards."""
        return self.before != self.after

    def difference(self) -> list[str]:
        """Returns the lines of a unified diff from params.yaml to the preset, with a line of context."""
        before, after = (self.before or "").splitlines(), self.after.splitlines()
        return list(difflib.unified_diff(before, after, str(self.params), str(self.preset), n=1, lineterm=""))

    def carry_out(self) -> None:
        """Keeps the backup, then replaces params.yaml in one move: an error between leaves it as it was."""
        if self.backup is not None and self.before is not None:
            _write(self.backup, self.before)
        _write(self.params, self.after)


def find_presets(root: Path) -> dict[str, Path]:
    """Returns {name: file} of root/presets, sorted, 5 before 10; UserError where there are none."""
    presets = {file.stem: file for file in sorted((root / "presets").glob("*.yaml"), key=_by_number)}
    if not presets:
        raise UserError(f"{root / 'presets'}: no presets there. Run in the project's root, or name it with --root.")
    return presets


def summarize(preset: Path) -> Summary:
    """Returns what the preset's file says of itself; UserError where it is no valid experiment."""
    config = load_config(preset)
    return Summary(
        name=preset.stem,
        title=_title(preset.read_text(encoding="utf-8")),
        tasks=len(config.sequence),
        steps=config.training.steps,
        methods=config.run.methods,
        needs=needs_of(config),
    )


def needs_of(config: Config) -> tuple[str, ...]:
    """Returns what the experiment needs beside a bare clone and two CPU cores, of: hub, GPU, data.

    hub: the model or the generator has a name, no place on this machine. GPU: images are drawn in half precision. data:
    a task is not of the miniature world.
    """
    model, generator = config.model, config.generator
    model_is_local = model.name.startswith(("local-dir:", "local-file:")) or "/" in (model.pretrained or "")
    found = {
        "hub": not (model_is_local and looks_local(generator.pipeline)),
        "GPU": generator.dtype != "float32",
        "data": any(task.source != "mini" for task in config.tasks.values()),
    }
    return tuple(name for name, needed in found.items() if needed)


def plan_switch(root: Path, name: str) -> Switch:
    """Returns the change that makes the preset `name` the active experiment; nothing is written.

    UserError for an unknown name, a preset that is not valid, and a params.yaml that cannot be read. A params.yaml that
    is no preset as it stands is to be kept as the first free params.backup-N.yaml.
    """
    presets = find_presets(root)
    preset = lookup(presets, name, "gift use: presets")
    load_config(preset)
    params = root / "params.yaml"
    before = _read(params) if params.exists() else None
    known = {_read(file) for file in presets.values()}
    backup = None if before is None or before in known else _free_backup(params)
    return Switch(preset, params, before, _read(preset), backup)


def _by_number(preset: Path) -> str:
    return re.sub(r"\d+", lambda digits: digits[0].zfill(9), preset.stem)


def _title(text: str) -> str:
    """The first sentence of the comment that opens the file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    words = " ".join(lines)
    sentence = _FIRST_SENTENCE.match(words)
    return sentence[1] if sentence else words


def _free_backup(params: Path) -> Path:
    number = 1
    while (backup := params.with_name(f"params.backup-{number}.yaml")).exists():
        number += 1
    return backup


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()  # bytes: a file with other line ends is another file
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}). Move it away and try again.") from None


def _write(path: Path, text: str) -> None:
    try:
        with write_atomically(path) as unfinished:
            unfinished.write_bytes(text.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error}). params.yaml is as it was.") from None
