"""Files of variants: which rows of `methods:` follow from them, and what is refused."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiment import read_experiment
from benchmarks.variants import Variant, leaves, merged, read_variants
from gift_core.errors import UserError

Rows = dict[str, dict[str, Any]]


@pytest.fixture
def methods(mini_params: dict[str, Any]) -> Rows:
    return mini_params["methods"]


def variants(folder: Path, text: str, methods: Rows) -> dict[str, Variant]:
    path = folder / "variants.yaml"
    path.write_text(text, encoding="utf-8")
    return read_variants(path, methods)


def test_lists_are_expanded_by_their_product(tmp_path: Path, methods: Rows) -> None:
    text = "own: {base: gift, learning_rate: [5e-4, 1e-3], consolidation: {weight: [0.05, 0.1]}}"
    found = variants(tmp_path, text, methods)
    assert list(found) == ["own_0p0005_0p05", "own_0p0005_0p1", "own_0p001_0p05", "own_0p001_0p1"]
    assert [variant.setting for variant in found.values()] == [
        "learning_rate=0.0005 consolidation.weight=0.05",
        "learning_rate=0.0005 consolidation.weight=0.1",
        "learning_rate=0.001 consolidation.weight=0.05",
        "learning_rate=0.001 consolidation.weight=0.1",
    ]
    assert {variant.method for variant in found.values()} == {"own"}
    last = copy.deepcopy(methods["gift"])
    last["learning_rate"], last["consolidation"]["weight"] = 1e-3, 0.1
    assert found["own_0p001_0p1"].row == last


def test_a_variant_without_lists_keeps_its_name(tmp_path: Path, methods: Rows) -> None:
    found = variants(tmp_path, "gift: {base: gift_l2, consolidation: {weight: 2.0}}", methods)
    assert list(found) == ["gift"]
    assert found["gift"].row["consolidation"] == {"kind": "uniform", "weight": 2.0}
    assert (found["gift"].base, found["gift"].changes) == ("gift_l2", {"consolidation": {"weight": 2.0}})


def test_texts_and_negative_exponents_make_valid_names(tmp_path: Path, methods: Rows) -> None:
    text = "own: {base: gift, learning_rate: [1e-5], consolidation: {kind: [uniform, adaptive_fisher]}}"
    assert list(variants(tmp_path, text, methods)) == ["own_1em05_uniform", "own_1em05_adaptive_fisher"]


def test_the_preset_stays_as_it_is(tmp_path: Path, methods: Rows) -> None:
    before = copy.deepcopy(methods)
    variants(tmp_path, "own: {base: gift, losses: {align: null}, consolidation: {weight: [1.0, 2.0]}}", methods)
    assert methods == before


def test_sections_are_merged_and_null_removes_a_key() -> None:
    values = {"kept": 1, "section": {"kept": 2, "changed": 3, "removed": {"deep": 4}}}
    changes = {"section": {"changed": 5, "removed": None, "new": {"deep": 6}}}
    assert merged(values, changes, "x") == {"kept": 1, "section": {"kept": 2, "changed": 5, "new": {"deep": 6}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own: {base: gfit}", r"variants.yaml: own: base: unknown name 'gfit'. Did you mean 'gift'"),
        ("own: {learning_rate: 1e-3}", r"variants.yaml: own: base: missing"),
        ("own: gift", r"variants.yaml: own: base: missing"),
        ("own: {base: gift, learning_rat: 1e-3}", r"variants.yaml: own.learning_rat: unknown key. Did you mean 'learn"),
        ("own: {base: gift, losses: {distil: {weight: [1.0]}}}", r"own_1.losses.distil: unknown loss. Did you mean"),
        ("own: {base: gift, learning_rate: [1e-3, fast]}", r"own_fast.learning_rate: should be a number"),
        ("own: {base: gift, losses: {alin: null}}", r"own.losses.alin: the base has no such key to remove. Did you"),
        ("own: {base: gift, losses: {}}", r"own.losses: empty, which changes nothing"),
        ("own: {base: gift, learning_rate: []}", r"own.learning_rate: should be a list of numbers, texts or null"),
        ("own: {base: gift, consolidation: [{kind: none}]}", r"own.consolidation: should be a list of numbers"),
        ("own: {base: gift, learning_rate: [1e-3, 0.001]}", r"own: own_0p001 occurs twice"),
        ("own_1: {base: gift}\nown: {base: gift, losses: {align: {weight: [1.0]}}}", r"own: own_1 occurs twice"),
        ("own: {base: gift}\nown: {base: gift}", r"variants.yaml: cannot be read \(.*own"),
        ("- own", r"variants.yaml: should contain variants by name"),
        ("", r"variants.yaml: should contain variants by name"),
    ],
)
def test_a_wrong_file_is_refused_with_its_location(tmp_path: Path, methods: Rows, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        variants(tmp_path, text, methods)


def test_a_missing_file_is_named(tmp_path: Path, methods: Rows) -> None:
    with pytest.raises(UserError, match=r"--variants .*none.yaml: no such file"):
        read_variants(tmp_path / "none.yaml", methods)


def test_the_search_tries_as_many_settings_of_every_method(project: Path) -> None:
    methods = read_experiment(project / "presets" / "mini_compare.yaml")["methods"]
    found = read_variants(project / "benchmarks" / "search.yaml", methods)
    counts = Counter(variant.method for variant in found.values())
    assert set(counts.values()) == {6}
    own = {variant.method for variant in found.values() if variant.base == variant.method}
    assert set(counts) - own == {"gift_wise_ft"}, "the others are methods of the preset"
    used = {variant.method for variant in found.values() if variant.row == methods[variant.base]}
    assert used == own, "the setting of the preset is among those tried"


def test_leaves_are_named_by_their_sections() -> None:
    assert list(leaves({"a": 1, "b": {"c": [2], "d": {"e": None}}})) == [("a", 1), ("b.c", [2]), ("b.d.e", None)]
