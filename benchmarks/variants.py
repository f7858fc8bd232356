"""Variants of methods: what a file for --variants says, and the rows of `methods:` that follow from it.

    gift:                               # the variant's name
      base: gift                        # a method of the preset
      learning_rate: [5.0e-4, 1.0e-3]   # a list: every value is tried, with every value of the other lists
      consolidation: {weight: [0.05, 0.1]}
    gift_average:
      base: gift
      average: {kind: running_mean, every: 10}
      losses: {align: null}             # null removes a key

The keys of a variant are merged into the row of its base. A variant with lists has one row for each combination, which
is named after the values: gift_0p0005_0p05, gift_0p0005_0p1, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from gift_core.config.loading import parse_part
from gift_core.config.method_options import MethodConfig
from gift_core.errors import UserError, did_you_mean, lookup, no_such_path
from gift_core.untrusted import MAX_YAML_BYTES, parse_yaml, read_limited

Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One row of `methods:`. `method`: the variant's name in the file; `changes`: what differs from the row of `base`.

    If the variant has lists, `changes` has one value of each, and several Variants have the same `method`.
    """

    method: str
    base: str
    changes: Row
    row: Row

    @property
    def setting(self) -> str:
        """The changes in one line: learning_rate=0.0005 consolidation.weight=0.1."""
        return " ".join(f"{key}={'null' if value is None else value}" for key, value in leaves(self.changes))


def read_variants(path: Path, methods: Mapping[str, Row]) -> dict[str, Variant]:
    """Returns the variants in a file by the names of their rows. `methods`: the rows of the preset.

    UserError for a file that cannot be read, an unknown base, two rows with one name, and for changes that are no lists
    of plain values, change nothing, or make a row with unknown keys or values.
    """
    found: dict[str, Variant] = {}
    for method, changes in _read(path).items():
        location = f"{path.name}: {method}"
        if not isinstance(changes, dict) or "base" not in changes:
            raise UserError(f"{location}: base: missing. Write the variant as in {method}: {{base: gift, ...}}.")
        base = str(changes.pop("base"))
        row = lookup(methods, base, f"{location}: base")
        _require_expandable(changes, location)
        for name, chosen in _expanded(method, changes):
            if name in found:
                raise UserError(f"{location}: {name} occurs twice. Remove the repeated value, or rename the variant.")
            found[name] = Variant(method, base, chosen, merged(row, chosen, location))
            parse_part(MethodConfig, found[name].row, name=path.name, key=name)
    return found


def merged(values: Mapping[str, Any], changes: Mapping[str, Any], location: str) -> dict[str, Any]:
    """Returns `values` with `changes`: sections are merged at any depth, None removes a key, all else replaces.

    UserError, which begins with `location`, if a key to remove does not exist.
    """
    result = dict(values)
    for key, value in changes.items():
        if value is None and key not in result:
            raise UserError(f"{location}.{key}: the base has no such key to remove. {did_you_mean(key, result)}")
        if value is None:
            del result[key]
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, dict) else {}, value, f"{location}.{key}")
        else:
            result[key] = value
    return result


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of everything in a section that is no section itself."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(read_limited(path, MAX_YAML_BYTES))
    except FileNotFoundError:
        raise UserError(f"--variants {no_such_path(path, 'file')}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Compare it with benchmarks/search.yaml.") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: should contain variants by name. Compare it with benchmarks/search.yaml.")
    return content


def _require_expandable(section: Row, location: str) -> None:
    for key, value in section.items():
        where = f"{location}.{key}"
        if isinstance(value, dict):
            if not value:
                raise UserError(f"{where}: empty, which changes nothing. To remove a key, write {key}: null.")
            _require_expandable(value, where)
        if isinstance(value, list) and (not value or any(isinstance(each, (list, dict)) for each in value)):
            raise UserError(f"{where}: should be a list of numbers, texts or null. Write other changes as variants.")


def _expanded(method: str, changes: Row) -> list[tuple[str, Row]]:
    """Returns [(name, changes without lists)], one for each combination of the values in lists."""
    varied = [key for key, value in leaves(changes) if isinstance(value, list)]
    combinations = [(dict(leaves(chosen)), chosen) for chosen in _combinations(changes)]
    return [("_".join([method, *(_as_name(values[key]) for key in varied)]), chosen) for values, chosen in combinations]


def _combinations(section: Row) -> list[Row]:
    choices = [_combinations(v) if isinstance(v, dict) else v if isinstance(v, list) else [v] for v in section.values()]
    return [dict(zip(section, values, strict=True)) for values in product(*choices)]


def _as_name(value: Any) -> str:
    """Returns a value as a part of a method's name: 0.0005 is 0p0005."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = f"{value:g}".replace("-", "m").replace("+", "").replace(".", "p") if number else str(value)
    return re.sub(r"[^a-z0-9]+", "_", text.lower())
