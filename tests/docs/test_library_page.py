"""docs/library.md: its examples run, its links and defaults hold."""

from __future__ import annotations

import dataclasses
import inspect
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import open_clip
import pytest

import gift_core
from gift_core.interop.exporting import export_clip
from gift_core.mini import world
from tests.clip.tiny import tiny_clip
from tests.conftest import PROJECT
from tests.docs.snippets import blocks_of
from tests.stages.experiment import gift

PAGE = (PROJECT / "docs" / "library.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^    python (examples/\w+\.py)$", PAGE, re.MULTILINE)


def test_the_page_names_every_example() -> None:
    scripts = {f"examples/{path.name}" for path in (PROJECT / "examples").glob("*.py")}
    assert set(EXAMPLES) == scripts - {"examples/miniature.py", "examples/my_losses.py"}  # which others import
    shown = re.findall(r"^    python (\S+\.py)$", gift("docs", "library").output, re.MULTILINE)
    assert shown == [str(PROJECT / name) for name in EXAMPLES]  # from any folder


@pytest.fixture
def printed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What the script of a test prints; the folder of a script is on Python's path."""
    monkeypatch.syspath_prepend(PROJECT / "examples")
    monkeypatch.setattr(sys, "argv", [request.param])
    runpy.run_path(str(PROJECT / "examples" / request.param), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("printed", ["finetune_open_clip.py"], indirect=True)
def test_ten_lines_learn_the_task_and_forget_little(printed: str) -> None:
    before, after = map(float, re.findall(r"task loss ([\d.]+) -> ([\d.]+)", printed)[0])
    assert after < before - 0.5
    (known,) = re.findall(r"known before: ([\d.]+) % -> ([\d.]+) %", printed)
    assert float(known[1]) > float(known[0]) - 10


@pytest.mark.parametrize("printed", ["gift_in_one_page.py"], indirect=True)
def test_one_page_generates_pairs_and_learns_without_forgetting(printed: str) -> None:
    rows = re.findall(r"task ([\d.]+), distill [\d.]+, align [\d.]+, consolidation ([\d.]+)", printed)
    first, last = ([float(value) for value in row] for row in (rows[0], rows[-1]))
    assert last[0] < first[0] - 0.5
    assert first[1] == 0 and last[1] > 0
    (new,) = re.findall(r"new classes: ([\d.]+) % -> ([\d.]+) %", printed)
    (known,) = re.findall(r"known classes: ([\d.]+) % -> ([\d.]+) %", printed)
    assert float(new[1]) > float(new[0]) + 5
    assert float(known[1]) > float(known[0]) - 10


@pytest.mark.parametrize("printed", ["own_loss.py"], indirect=True)
def test_a_loss_of_ones_own_is_compared_in_a_table(printed: str) -> None:
    table = {row[0]: float(row[2]) for row in re.findall(r"^(\w+) +([\d.]+)% +([\d.]+)%$", printed, re.MULTILINE)}
    assert list(table) == ["finetune", "gift", "relations"]
    assert table["gift"] > table["finetune"]


@pytest.mark.parametrize("printed", ["three_tasks.py"], indirect=True)
def test_three_tasks_end_in_a_table_of_what_was_learned_and_kept(printed: str) -> None:
    rows = [line.split() for line in printed.splitlines()[1:]]
    table = {name: numbers for name, *numbers in rows}
    assert list(table) == ["zodiac", "textures", "greek", "symbols"]
    before, at_the_end = ({name: float(row[at]) for name, row in table.items()} for at in (0, 2))
    assert all(at_the_end[name] > before[name] for name in ("zodiac", "textures", "greek"))
    assert float(table["zodiac"][1]) - at_the_end["zodiac"] < 5  # two tasks later
    assert before["symbols"] - at_the_end["symbols"] < 5


@pytest.mark.parametrize("printed", ["dictionaries.py"], indirect=True)
def test_dictionaries_are_trained_on_and_tested(printed: str) -> None:
    ((images, before, after),) = re.findall(r"(\d+) images of textures: ([\d.]+) % -> ([\d.]+) %", printed)
    assert images == "200" and float(after) > float(before) + 5


def test_two_processes_have_the_gradients_of_one() -> None:
    script = PROJECT / "examples" / "two_processes.py"  # its processes import it, so it is no part of this one
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    one, two = re.findall(r"processes: (\d), last iteration: distill (\S+), align (\S+)", printed)
    assert (one[0], two[0]) == ("1", "2")
    assert [float(loss) for loss in two[1:]] == pytest.approx([float(loss) for loss in one[1:]], abs=0.01)
    largest, difference = re.findall(r"up to (\S+), they differ by at most (\S+)", printed)[0]
    assert float(difference) < 1e-4 * float(largest)


@pytest.mark.skipif(find_spec("lightning") is None, reason="it needs Lightning: pip install lightning")
@pytest.mark.parametrize("printed", ["lightning_module.py"], indirect=True)
def test_a_lightning_module_learns_and_forgets_little(printed: str) -> None:
    textures, symbols = re.findall(r"(?:textures|symbols): ([\d.]+) % -> ([\d.]+) %", printed)
    assert float(textures[1]) > float(textures[0]) + 5
    assert float(symbols[1]) > float(symbols[0]) - 10
    (penalty,) = re.findall(r"'penalty': ([\d.]+)", printed)
    assert float(penalty) > 0


def test_the_defaults_in_the_table_are_those_of_the_code_and_of_the_papers_preset() -> None:
    defaults = {name: each.default for name, each in inspect.signature(gift_core.finetune).parameters.items()}
    training = dataclasses.asdict(defaults["training"])
    assert (defaults["method"], defaults["iterations"], defaults["seed"]) == ("gift", 1000, 42)
    assert gift_core.method_row("gift")["learning_rate"] == 1e-5
    assert "| learning_rate | 1e-5 |" in PAGE and "| iterations, warm-up | 1,000, a tenth of them |" in PAGE
    shown = "| weight_decay, betas, label_smoothing | {weight_decay:g}, {betas}, {label_smoothing} |".format(**training)
    assert shown in PAGE
    assert f"| replay_batch_size | {training['replay_batch_size']} |" in PAGE


MINIATURE = {  # what a block names, and what stands for it in a test
    '"ViT-B-16-quickgelu", pretrained="openai"': '"ViT-B-16-quickgelu"',
    '"ViT-B-16-quickgelu"': f'"local-dir:{PROJECT / "data" / "mini" / "clip"}"',
    ', pretrained="openai"': "",
    '"stable-diffusion-v1-5/stable-diffusion-v1-5"': f'"{PROJECT / "data" / "mini" / "diffusion"}"',
    '"stabilityai/sd-turbo"': f'"{PROJECT / "data" / "mini" / "diffusion"}"',
    "size=512": "size=32",
    '"imagenet"': '"mini"',
    "1000, template": "12, template",
    "steps=20": "steps=2",
    'folder="pairs"': 'folder="pairs", steps=2',
    "pairs=pairs": "pairs=pairs, iterations=2, replay_batch_size=8",
}
PYTHON = [block.code for block in blocks_of(PROJECT, "docs/library.md") if block.language == "python"]
LINES = dict(re.findall(r"^\| `(\w+)` \| `(.+)` \|$", PAGE, re.MULTILINE))


def small(code: str) -> str:
    for shown, own in MINIATURE.items():
        code = code.replace(shown, own)
    return code


def write_photos(folder: Path) -> None:
    """Photos of new classes, to train on and to test, and of others."""
    for part, task, split in (("train", "textures", "train"), ("test", "textures", "test"), ("other", "greek", "test")):
        names = world.mini_task(task).class_names
        for number, (image, label) in enumerate(world.render_task(task, split, 40, seed=1)):
            path = folder / part / names[int(label)] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)


@pytest.mark.thorough
def test_every_block_and_every_line_runs_with_the_miniature(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first block is that of the README: from folders of photos to a saved model and two numbers."""
    readme = next(block.code for block in blocks_of(PROJECT, "README.md") if block.language == "python")
    assert PYTHON[0] == readme and set(LINES) == set(gift_core.__all__)
    assert all(f"gift_core.{name}" in line for name, line in LINES.items())
    tmp_path, theirs = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("hub") / "clip"
    export_clip(tiny_clip(), theirs, to="transformers", provenance={})
    monkeypatch.setitem(MINIATURE, '"clip-vit-base-patch16"', f'"{theirs}"')
    write_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(small(readme), names)
    percent = r"(\d+\.\d)%"
    assert re.fullmatch(f"learned: {percent} -> {percent}, kept: {percent} -> {percent}\n", capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_clip", "pairs", "photos"]
    opened = open_clip.create_model_and_transforms("local-dir:my_clip")[0]
    assert opened.state_dict().keys() == names["model"].state_dict().keys()
    for code in PYTHON[1:]:
        exec(small(code), names)
    for line in LINES.values():
        exec(small(line), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_clip", "pairs", "photos"]
