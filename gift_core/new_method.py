"""Adds a method to params.yaml: its row, copied from another one with some changes, and its name in run.methods."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import write_atomically
from gift_core.config.editing import activate_method, append_method
from gift_core.config.experiment import Config
from gift_core.config.loading import parse_config
from gift_core.errors import UserError, did_you_mean, no_such_path
from gift_core.untrusted import MAX_YAML_BYTES, decode_text, parse_yaml, read_limited

BASE = "gift"


@dataclass(frozen=True)
class MethodAddition:
    """A method that is about to be added. `base` is the row that its row is a copy of; None if the row exists."""

    params: Path
    before: str
    after: str
    config: Config
    base: str | None

    def difference(self) -> list[str]:
        """Returns the lines of a unified diff of params.yaml with one line of context."""
        name, before, after = self.params.name, self.before.splitlines(), self.after.splitlines()
        return list(difflib.unified_diff(before, after, name, name, n=1, lineterm=""))

    def carry_out(self) -> None:
        """Replaces params.yaml atomically."""
        with write_atomically(self.params) as unfinished:
            unfinished.write_bytes(self.after.encode())


def plan_method(name: str, *, base: str | None, settings: Sequence[str], params: Path) -> MethodAddition:
    """Returns the addition of a method. Nothing is written.

    With `base` or `settings` ("losses.distill.weight=2.0"), its row is a copy of `base` (gift by default) with these
    values. Without both, the row must exist, and only run.methods gets its name.

    Raises:
        UserError: the name is taken or unknown, so is the base, or the checks of params.yaml refuse the row.
    """
    before = _read(params)
    present = parse_config(before, params.name)
    changed = dict(_setting(text) for text in settings)
    if base is None and not settings:
        _require_addable(name, present)
        after = activate_method(before, name)
    else:
        _require_new(name, present)
        after = append_method(before, name, base or BASE, changed)
    copied_from = None if name in present.methods else base or BASE
    return MethodAddition(params, before, after, parse_config(after, params.name), copied_from)


def _require_addable(name: str, config: Config) -> None:
    if name not in config.methods:
        what = f"unknown name {name!r}. {did_you_mean(name, config.methods)}"
        raise UserError(f"params.yaml: methods: {what} To add a new row, say of which it is a copy: --from {BASE}")
    if name in config.run.methods:
        what = "is there already, and it runs: run.methods has it"
        raise UserError(f"params.yaml: methods.{name}: {what}. For a copy with another name: --from {name}")


def _require_new(name: str, config: Config) -> None:
    if name in config.methods:
        runs = "" if name in config.run.methods else f", or run it as it is: gift add-method {name}"
        raise UserError(f"params.yaml: methods.{name}: already exists. Choose another name{runs}.")


def _setting(text: str) -> tuple[str, Any]:
    """The key and the value of "losses.distill.weight=2.0". The value is read as YAML, an empty one is null."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {text}: should be KEY=VALUE, as losses.distill.weight=2.0. Correct it.")
    try:
        return key, parse_yaml(value)
    except ValueError as error:
        raise UserError(f"--set {text}: the value is not valid YAML ({error}). Correct it.") from None


def _read(params: Path) -> str:
    if not params.is_file():
        raise UserError(f"--params {no_such_path(params, 'file')} Run in the project's root, or name the file.")
    try:
        return decode_text(read_limited(params, MAX_YAML_BYTES))
    except (OSError, ValueError) as error:
        raise UserError(f"--params {params}: cannot be read ({error}). Save it as UTF-8 text.") from None
