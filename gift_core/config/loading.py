"""Reads params.yaml and reports everything that is wrong with it at once."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gift_core.config.checks import cross_check
from gift_core.config.experiment import Config
from gift_core.config.messages import explain
from gift_core.errors import UserError

_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")  # merge: `<<: *anchor`


def load_config(path: Path) -> Config:
    """Returns the experiment of a params file, checked in itself and across its sections.

    UserError lists everything that is wrong, a line each: "params.yaml: <dotted.path>: <what is wrong>. <remedy>".
    """
    raw = _read_yaml(path)
    try:
        # through JSON: its strict mode still takes a list for a tuple and a whole number for a float
        config = Config.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        raise UserError(_lines(path, explain(error, raw))) from None
    wrong = cross_check(config)
    if wrong:
        raise UserError(_lines(path, wrong))
    return config


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word, and reads `1:` as a number; this one refuses both."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are texts, each once; ConstructorError with the line of a key that is not."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refuse(key, "a key is a list or a section")
            if key.tag not in _TEXT_TAGS:
                raise _refuse(key, f"key {key.value!r} is no text for YAML. Put it in quotes")
            if key.value in lines:
                raise _refuse(key, f"key {key.value!r} stands here and on line {lines[key.value]}. Remove one")
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _refuse(key: yaml.Node, what: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, key.start_mark)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run in the project's root, or copy one of presets/ there.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Save it as UTF-8 text.") from None
    try:
        raw = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{path.name}: {place}{error.problem}. Correct that line.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path.name}: is no YAML ({error}). Compare it with presets/mini.yaml.") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path.name}: should hold sections, it holds {raw!r}. Compare it with presets/mini.yaml.")
    return raw


def _lines(path: Path, wrong: list[tuple[str, str]]) -> str:
    return "\n".join(f"{path.name}: {place}: {what}" for place, what in wrong)
