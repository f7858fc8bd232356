"""Code and settings that change while DVC runs a stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gift_core.errors import UserError
from stages.stage import open_stage
from tests.clone import TASKS, copy_of

pytestmark = pytest.mark.end_to_end


def test_under_dvc_a_stage_refuses_other_code_than_that_of_check_and_settings_that_change_meanwhile(
    first_result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy_of(first_result / "gift", tmp_path / "gift").folder
    params, text = root / "params.yaml", (root / "params.yaml").read_text(encoding="utf-8")
    monkeypatch.setenv("DVC_STAGE", "finetune@gift-step1")
    changed = text.replace("temperature: 2.0", "temperature: 2.5")
    for now, message in ((changed, "methods.gift changed while finetune"), (f"{text}[", "edited while finetune ran")):
        stage = open_stage("finetune", params, root, method="gift", task=TASKS[1])
        with pytest.raises(UserError, match=message), stage:
            params.write_text(now, encoding="utf-8")
        params.write_text(text, encoding="utf-8")
    code = root / "data/code/finetune/gift.json"
    state = json.loads(code.read_text(encoding="utf-8"))
    code.write_text(json.dumps(state | {"edited": state.get("edited", {}) | {"a.py: distill": ""}}), encoding="utf-8")
    with (
        pytest.raises(UserError, match=r"after `check` ran \(a.py: distill\)"),
        open_stage("finetune", params, root, method="gift", task=TASKS[1]),
    ):
        pass
