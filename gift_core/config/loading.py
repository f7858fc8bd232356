"""Reads params.yaml and reports everything that is wrong with it at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import Tag, ValidationError
from pydantic_core import ErrorDetails

from gift_core.config.checks import cross_check
from gift_core.config.experiment import DEVICE, Config
from gift_core.config.method_options import LossesConfig, OwnLossOptions
from gift_core.config.section import CODE_FILE, ONE_LINE, Section
from gift_core.config.tasks import COMMIT
from gift_core.errors import UserError, did_you_mean, nearest, no_such_path
from gift_core.untrusted import MAX_YAML_BYTES, parse_yaml, read_limited

Location = tuple[int | str, ...]
Part = TypeVar("Part", bound=Section)
EXAMPLE = "presets/mini.yaml"
OWN_LOSS = "{file: my_losses.py, weight: 1.0}"
DISCRIMINATORS = ("source", "images", "kind")  # the keys that say which section one is
SHOWN = 160  # characters of a wrong value
_PATTERNS = {
    ONE_LINE: "contains a line break or another control character. Write it on one line.",
    DEVICE: "is not a device. Write auto, cpu, cuda, cuda:1 or mps.",
    CODE_FILE: "is not a Python file of the project. Write its path from params.yaml on, such as my_losses.py.",
    COMMIT: "is not a commit. Write its 40 hexadecimal digits: a branch or a tag can change.",
}
_BOUNDS = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}  # as pydantic calls them
_BASE = re.compile(r"^base: *(\S{1,80})", re.MULTILINE)


def load_config(path: Path) -> Config:
    """Returns the experiment in a params file.

    UserError lists everything that is wrong, one line each: "params.yaml: <key>: <what is wrong>. <remedy>".
    """
    return parse_config(read_settings(path), path.name)


def read_settings(path: Path) -> str:
    """Returns the text of a settings file, with its line ends. UserError if it cannot be read."""
    try:
        return read_limited(path, MAX_YAML_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        problem = f"{path}: no such file." if path.name == "params.yaml" else no_such_path(path, "file")
        raise UserError(f"{problem} Run in a project's root, or make a project: gift init DIR") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Save it as UTF-8 text.") from None


def parse_config(text: str, name: str) -> Config:
    """Returns the experiment in the text of a params file. `name` is the file's name in errors (see load_config)."""
    overlay = _BASE.search(text)
    if overlay:
        problem = f"base: the file is not complete, it changes the preset {overlay[1]}"
        raise UserError(f"{name}: {problem}. Write the complete params.yaml: gift use {name.removesuffix('.yaml')}")
    config = parse_part(Config, parse_settings(text, name), name=name)
    problems = _lines(cross_check(config), name)
    if problems:
        raise UserError(problems)
    return config


def parse_settings(text: str, name: str) -> dict[str, Any]:
    """Returns the sections in the text of the settings file `name`. UserError if it is not YAML with sections."""
    try:
        raw = parse_yaml(text)
    except ValueError as error:
        remedy = "Correct that line." if str(error).startswith("line ") else f"Compare it with {EXAMPLE}."
        raise UserError(f"{name}: {error}. {remedy}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{name}: should contain sections, it contains {_shown(raw)}. Compare it with {EXAMPLE}.")
    return raw


def parse_part(kind: type[Part], raw: Any, *, name: str, key: str = "") -> Part:
    """Returns the whole of params.yaml, or a section that is given without the others, such as the row of a method.

    UserError as of load_config: `name` begins its lines, and then comes `key`, where the section is.
    """
    try:
        # through JSON: its strict mode accepts a list for a tuple and a whole number for a float
        return kind.model_validate_json(json.dumps(raw))
    except TypeError as error:
        remedy = f"Use numbers, texts, lists and dictionaries, as in {EXAMPLE}."
        raise UserError(f"{name}: {key}: {error}. {remedy}") from None
    except ValidationError as error:
        wrong = []
        for finding in error.errors(include_url=False):
            if finding["type"] != "too_short" or not finding["input"]:  # a list with a wrong entry also counts as such
                inner, problem = _explain(finding, kind)
                wrong.append((".".join(filter(None, (key, inner))), problem))
        raise UserError(_lines(wrong, name)) from None


def _lines(wrong: Iterable[tuple[str, str]], name: str) -> str:
    return "\n".join(f"{name}: {key}: {problem}" for key, problem in wrong)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _explain(error: ErrorDetails, root: type[Section]) -> tuple[str, str]:
    """Returns (dotted path, "what is wrong. Remedy") for one of pydantic's errors about a section `root`."""
    is_key = error["loc"][-1:] == ("[key]",)  # a name that a mapping cannot have
    location, kind, section = _resolve(error["loc"][: -1 if is_key else None], root)
    context = error.get("ctx", {})
    value = error["input"]
    match error["type"]:
        case "missing" if section is OwnLossOptions and location[-1] == "file":
            known_losses = did_you_mean(str(location[-2]), LossesConfig.model_fields)
            return _dotted(location[:-1]), f"unknown loss. {known_losses} One of your own has a file: {OWN_LOSS}."
        case "missing":
            known_keys = section.model_fields if section is not None else ()
            others = [str(key) for key in value if key not in known_keys]
            is_it = nearest(str(location[-1]), others).replace("Did you mean", "Is it")
            problem = f"missing. {is_it}Every key is required. Add it, as in {EXAMPLE}."
        case "extra_forbidden":
            assert section is not None, "only sections refuse unknown keys"
            problem = f"unknown {section.noun}. {did_you_mean(str(location[-1]), section.model_fields)}"
        case "union_tag_not_found" | "union_tag_invalid":
            key = context["discriminator"].strip("'")
            unknown = f"unknown {key} {_shown(value.get(key))}. " if key in value else "missing. "
            return _dotted((*location, key)), unknown + did_you_mean(str(value.get(key, "")), _members(kind))
        case "literal_error":
            known = re.findall("'(.*?)'", context["expected"])
            problem = f"unknown {'key' if is_key else 'value'} {_shown(value)}. {did_you_mean(str(value), known)}"
        case "string_too_long":
            problem = f"{_shown(value)} has more than {context['max_length']} characters. Write a shorter one."
        case "value_error":
            problem = str(context["error"])
        case "string_pattern_mismatch":
            problem = f"{_shown(value)} {_PATTERNS[context['pattern']]}"
        case _:
            bounds = [words.format(context[name]) for name, words in _BOUNDS.items() if name in context]
            remedy = f"Write {bounds[0]}." if bounds else f"Compare it with {EXAMPLE}."
            if isinstance(value, str) and error["type"] in ("int_type", "float_type"):
                remedy = "Write the number without quotes."
            elif error["type"] == "string_type" and value is not None:
                remedy = "Put it in quotes."
            shown = "empty (null)" if value is None else _shown(value)
            problem = f"{error['msg'].removeprefix('Input ')}, it is {shown}. {remedy}"
    return _dotted(location), problem


def _resolve(location: Location, root: type[Section]) -> tuple[Location, Any, type[Section] | None]:
    """Returns (the location below `root`, the type there, the section that contains it).

    pydantic's locations also contain the tag of a union's member ("mini", "synthetic"), which is no key of the file.
    """
    keys: list[int | str] = []
    kind: Any = root
    section = None
    for part in location:
        members = _members(kind)
        if len(members) > 1:
            kind = members[str(part)]
            continue
        (member,) = members.values()
        keys.append(part)
        section = member if isinstance(member, type) and issubclass(member, Section) else None
        if section is None:  # a mapping or a list
            arguments = get_args(member) or (None,)
            kind = arguments[-1] if get_origin(member) is dict else arguments[0]
        else:
            kind = section.model_fields[str(part)].annotation if part in section.model_fields else section.others
    return tuple(keys), kind, section


def _members(kind: Any) -> dict[str, Any]:
    """Returns {tag: type} of a union, None left out; {"": type} for any other type."""
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(plain) not in (Union, UnionType):
        return {"": plain}
    members = [member for member in get_args(plain) if member is not NoneType]
    if len(members) == 1:
        return _members(members[0])
    return {tag: member for member in members for tag in _tags(member)}


def _tags(member: Any) -> list[str]:
    if get_origin(member) is Annotated:
        return [note.tag for note in member.__metadata__ if isinstance(note, Tag)]
    fields = [member.model_fields[key] for key in DISCRIMINATORS if key in member.model_fields]
    return [tag for field in fields for tag in get_args(field.annotation)]


def _dotted(location: Location) -> str:
    """Returns "sequence[1].after" for ("sequence", 1, "after")."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
