"""`gift add-method`, as a person types it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from gift_core.config.loading import load_config
from tests.stages.experiment import Gift


@pytest.fixture
def add(gift: Gift) -> Gift:
    return partial(gift, "add-method")


def test_a_copy_with_changes_becomes_a_method_that_runs(add: Gift) -> None:
    output = add("strong", "--from", "gift", "--set", "losses.distill.weight=2.0", "--set", "learning_rate=1e-4").output
    assert output.startswith("strong: a copy of gift\n")
    assert "\n+      distill: {weight: 2.0, temperature: 2.0}\n" in output
    assert "To take it back: gift remove-method strong" in output
    config = load_config(Path("params.yaml"))
    gift, strong = config.methods["gift"], config.methods["strong"]
    changed = {"losses", "learning_rate"}
    assert strong.losses.distill is not None
    assert (strong.losses.distill.weight, strong.learning_rate) == (2.0, 1e-4)
    assert strong.model_dump(exclude=changed) == gift.model_dump(exclude=changed)
    assert config.run.methods == ("finetune", "gift", "strong")


def test_a_row_that_is_there_only_gets_its_name_in_run_methods(add: Gift) -> None:
    before = Path("params.yaml").read_text(encoding="utf-8")
    output = add("joint").output
    assert output.startswith("joint: its row is in methods already\n")
    assert "To take it back: remove joint from run.methods" in output
    assert Path("params.yaml").read_text(encoding="utf-8") == before.replace("  - gift\n", "  - gift\n  - joint\n", 1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("jiont", "To add a new row, say of which it is a copy: --from gift"),
        ("x --from gfit", "--from: methods of params.yaml: unknown name 'gfit'. Did you mean 'gift'?"),
        ("gift", "params.yaml: methods.gift: is there already, and it runs"),
        ("joint --from ewc", "already exists. Choose another name, or run it as it is: gift add-method joint."),
        ("x --set learning_rate=fast", "methods.x.learning_rate: should be a number, it is the text 'fast'."),
        ("x --set learning_rate.x=2", "--set learning_rate.x: learning_rate is 0.0005 and no section."),
        ("x --set learning_rate", "--set learning_rate: should be KEY=VALUE"),
        ("x --set learning_rate=[1", "--set learning_rate=[1: the value is not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words: str, expected: str, add: Gift) -> None:
    before = Path("params.yaml").read_bytes()
    message = add(*words.split(), expect=1).stderr
    assert message.startswith("error: ") and expected in message
    assert Path("params.yaml").read_bytes() == before
