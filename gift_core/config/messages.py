"""Says in words what pydantic found: the key's path as it stands in the file, what is wrong, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from gift_core.config.experiment import Config
from gift_core.errors import did_you_mean
from gift_core.section import Section

Location = tuple[int | str, ...]
_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a section",
    "model_type": "a section",
    "model_attributes_type": "a section",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_PATTERNS = {
    r"\{\}": ("holds no {}", "Put {} where the class name goes: 'a photo of a {}'."),
    r"^(auto|cpu|mps|cuda(:\d+)?)$": ("is no device", "Write auto, cpu, cuda, cuda:1 or mps."),
}
_EXPONENT = re.compile(r"^[+-]?(\d+)(\.\d*)?[eE]([+-]?\d+)$")


def explain(error: ValidationError, raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns [(dotted path, "what is wrong. Remedy")] for each of pydantic's findings, in the order of the file."""
    return [_explain_one(dict(finding), raw) for finding in error.errors(include_url=False)]


def _explain_one(finding: dict[str, Any], raw: Mapping[str, Any]) -> tuple[str, str]:
    location, section = _follow(finding["loc"])
    context = finding.get("ctx", {})
    kind, value = finding["type"], finding.get("input")
    name = str(location[-1]) if location else ""
    place = dotted(location)
    if kind == "missing" and isinstance(location[-1], int):
        return dotted(location[:-1]), f"should have more entries: number {location[-1] + 1} is missing. Add it."
    if kind == "missing":
        return place, "missing. Every key is required: write it, presets/mini.yaml shows how."
    if kind == "extra_forbidden" and section is not None:
        return place, f"unknown {section.noun}. {did_you_mean(name, section.model_fields)}"
    if kind == "union_tag_not_found":
        key = context["discriminator"].strip("'")
        return (
            f"{place}.{key}",
            "missing. It decides which other keys belong here: write it, presets/mini.yaml shows how.",
        )
    if kind == "union_tag_invalid":
        key = context["discriminator"].strip("'")
        known = re.findall(r"'([^']*)'", context["expected_tags"])
        return (
            f"{place}.{key}",
            f"unknown {_noun(location, key)} {context['tag']!r}. {did_you_mean(context['tag'], known)}",
        )
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        return place, f"unknown value {value!r}. {did_you_mean(str(value), known)}"
    return place, _explain_value(kind, value, context, finding["msg"])


def _explain_value(kind: str, value: Any, context: Mapping[str, Any], message: str) -> str:
    if kind in _KINDS:
        return f"should be {_KINDS[kind]}, it is {_describe(value)}. {_rewrite(kind, value)}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"should be {words} {context[bound]:g}, it is {value:g}. Change the number."
    if kind == "string_pattern_mismatch":
        what, remedy = _PATTERNS[context["pattern"]]
        return f"{value!r} {what}. {remedy}"
    if kind in ("too_short", "string_too_short"):
        return f"should not be empty. Write {context.get('min_length', 1)} or more."
    if kind == "too_long":
        return f"should have {context['max_length']} entries at most, it has {context['actual_length']}. Remove some."
    return f"{message}. Compare it with presets/mini.yaml."


def _describe(value: Any) -> str:
    if value is None:
        return "empty (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, list):
        return f"a list {value!r}"
    return f"a section ({', '.join(map(str, value)) or 'empty'})" if isinstance(value, dict) else repr(value)


def _rewrite(kind: str, value: Any) -> str:
    exponent = _EXPONENT.match(value) if isinstance(value, str) else None
    if exponent and kind == "float_type":
        digits, fraction, power = exponent.groups()
        sign = "" if power[0] in "+-" else "+"
        decimals = fraction if fraction and len(fraction) > 1 else ".0"
        return f"Write {digits}{decimals}e{sign}{power}: without the point and the sign YAML reads a text."
    if isinstance(value, str) and kind in ("int_type", "float_type"):
        return "Write the number without quotes."
    if kind == "string_type" and value is not None:
        return "Put it in quotes."
    return "presets/mini.yaml shows how."


def _noun(location: Location, key: str) -> str:
    """What a discriminator is called: "anchor kind", "replay images", "texts kind", "source"."""
    return f"{location[-1]} {key}" if location and location[-1] in ("anchor", "replay", "texts") else key


def _follow(location: Location) -> tuple[Location, type[Section] | None]:
    """Returns (the path as it stands in the file, the section that holds its last part).

    pydantic puts the tag of a union's member ("mini", "synthetic") into the path, where the file has none.
    """
    place: list[int | str] = []
    section: type[Section] | None = None
    current: Any = Config
    for part in location:
        members = _members(current)
        if len(members) > 1:
            current = next((member for member in members if _has_tag(member, part)), None)
            continue
        current = members[0] if members else None
        place.append(part)
        section = current if _is_section(current) else None
        current = _child(current, part)
    return tuple(place), section


def _child(kind: Any, part: int | str) -> Any:
    if _is_section(kind):
        return kind.model_fields[part].annotation if part in kind.model_fields else None
    arguments = get_args(kind)
    return arguments[-1 if get_origin(kind) is dict else 0] if arguments else None


def _members(kind: Any) -> list[Any]:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        return [member for member in get_args(kind) if member is not type(None)]
    return [] if kind is None else [kind]


def _has_tag(member: Any, tag: int | str) -> bool:
    if not _is_section(member):
        return False
    annotations = [field.annotation for field in member.model_fields.values()]
    return any(tag in get_args(annotation) for annotation in annotations if get_origin(annotation) is Literal)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def dotted(location: Location) -> str:
    """Returns "sequence[1].after" for ("sequence", 1, "after")."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".")
