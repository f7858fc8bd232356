"""A project's folder and an experiment to examine, made from presets with changes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from gift_core.config.loading import load_config
from gift_core.config.overlays import complete_text
from gift_core.doctor.finding import Finding, Scene
from tests.imports import ROOT


def scene(folder: Path, preset: str = "mini", **changes: Any) -> Scene:
    """The preset in `folder`/params.yaml, with some keys ("generator.size" is written generator__size) changed."""
    params = copy.deepcopy(yaml.safe_load(complete_text(ROOT / "presets" / f"{preset}.yaml")))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = params
        for key in parents:
            place = place[key]
        place[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return Scene(folder, load_config(folder / "params.yaml"))


def mini_models(folder: Path) -> None:
    """Links the project's two small models into `folder`, where the miniature's params.yaml looks for them."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "mini").symlink_to(ROOT / "data" / "mini")


def marks(findings: list[Finding]) -> dict[str, str]:
    """{subject: mark}, the worst where a subject has several."""
    order = ("ok", "info", "warn", "fail")
    found: dict[str, str] = {}
    for finding in findings:
        before = found.get(finding.subject, "ok")
        found[finding.subject] = max(before, finding.mark, key=order.index)
    return found
