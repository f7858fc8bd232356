"""Adds a method to params.yaml: its row, copied from another one with some changes, and its name in run.methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.config.editing import activate_method, append_method
from gift_core.config.experiment import Config
from gift_core.config.loading import parse_config
from gift_core.errors import UserError, did_you_mean
from gift_core.params_edit import ParamsEdit, read_params
from gift_core.untrusted import parse_yaml

BASE = "gift"


@dataclass(frozen=True)
class MethodAddition(ParamsEdit):
    """A method that is about to be added. `base` is the row that its row is a copy of; None if the row exists."""

    base: str | None


def plan_method(name: str, *, base: str | None, settings: Sequence[str], params: Path) -> MethodAddition:
    """Returns the addition of a method. Nothing is written.

    With `base` or `settings` ("losses.distill.weight=2.0"), its row is a copy of `base` (gift by default) with these
    values. Without both, the row must exist, and only run.methods gets its name.

    Raises:
        UserError: the name is taken or unknown, so is the base, or the checks of params.yaml refuse the row.
    """
    before = read_params(params)
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
