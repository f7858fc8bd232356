"""Code and settings that change while DVC runs a stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gift_core.errors import UserError
from stages.check import check
from stages.stage import open_stage


def test_under_dvc_a_stage_refuses_other_code_than_that_of_check_and_settings_that_change_meanwhile(
    mini_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, code = mini_project / "params.yaml", mini_project / "data/code/finetune/gift.json"
    check(params, mini_project)
    text, state = params.read_text(encoding="utf-8"), json.loads(code.read_text(encoding="utf-8"))
    changed = text.replace("temperature: 2.0", "temperature: 2.5")

    def run(edited: str) -> None:
        with open_stage("finetune", params, mini_project, method="gift", task="letters"):
            params.write_text(edited, encoding="utf-8")
        params.write_text(text, encoding="utf-8")

    run(changed)  # by hand: nothing is recorded
    monkeypatch.setenv("DVC_STAGE", "finetune@gift-step1")
    run(text)
    for edited, message in (
        (changed, "methods.gift.losses changed while finetune"),
        (f"{text}[", "edited while finetune ran"),
    ):
        with pytest.raises(UserError, match=message):
            run(edited)
        params.write_text(text, encoding="utf-8")
    code.write_text(json.dumps(state | {"edited": state.get("edited", {}) | {"a.py: distill": ""}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"after `check` ran, .* other code \(a.py: distill\)"):
        run(text)
