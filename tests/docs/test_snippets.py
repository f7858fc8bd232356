"""Every block of commands and Python on a page runs as printed, or is listed here with the reason why not.

All blocks of a page run from top to bottom in one terminal, as a reader types them: the README in a bare clone whose
experiment is cut to a small size, every guide in a copy of a project in which that experiment has run.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import yaml

from tests.clone import Clone, commit, copy_of, new_project, small
from tests.docs.snippets import Block, blocks_of, install_gift
from tests.docs.test_your_own_task import write_photos
from tests.imports import ROOT

pytestmark = pytest.mark.end_to_end

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "data/mini/*/README.md", "data/0_raw/README.md",
                    "data/0_raw/[gmpr]*/README.md", "gift_core/**/*.md", "examples/**/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip

# Pages whose fenced blocks need more than a project: another test follows them from top to bottom, and knows each.
FOLLOWED = {
    "docs/adding_a_method.md": "tests/docs/test_adding_a_method.py",
    "docs/from_a_run_to_a_paper.md": "tests/docs/test_from_a_run_to_a_paper.py",
    "docs/scaling.md": "tests/docs/test_scaling.py",
    "docs/team.md": "tests/docs/test_team.py",
    "docs/your_own_task.md": "tests/docs/test_your_own_task.py",
}
OF_THE_MINIATURE = ("model", "generator", "prompts", "training")  # in place of the full-size sections of a preset
EDIT = re.compile(r"^# params\.yaml: ([\w.]+): (\S+) -> (\S+)$", re.MULTILINE)  # a comment that a reader follows
EDIT_SCRIPT = """
import sys, yaml
key, old, new = sys.argv[1:]
params = section = yaml.safe_load(open("params.yaml"))
*sections, name = key.split(".")
for each in sections:
    section = section[each]
assert section[name] == yaml.safe_load(old), section[name]
section[name] = yaml.safe_load(new)
yaml.safe_dump(params, open("params.yaml", "w"), sort_keys=False)
"""
SUITE = "a whole suite of tests, of which this one is a part; tests/docs/test_site.py and others do the rest"
LIBRARY = "needs the hub and a GPU; tests/docs/test_library_page.py runs it with the miniature"
FORMULA = "a formula, or lines of params.yaml"
FULL_SIZE = "needs the data sets of MTIL, the weights of CLIP and Stable Diffusion, and a GPU"
NETWORK = "needs a network"
# page, beginnings of blocks (a pattern), beginnings of their commands that are not run (a pattern; "" for the whole
# block), and why, or what the block is.
NOT_RUN = [
    ("docs/doctor.md", "time of a stage = ", "", FORMULA),
    ("docs/full_size.md", "hours = ", "", FORMULA),
    ("docs/log.md", "python -c", "", SUITE),
    ("docs/generators.md", "lora: |memory: ", "", FORMULA),
    ("docs/library.md", "import|few_steps = |learned = |row = |teacher, |def rel", "", LIBRARY),
    ("README.md", "import gift_core, open_clip", "", LIBRARY),
    ("docs/methods.md", "CE", "", FORMULA),
    ("docs/team_tools.md", "import open_clip|from datasets", "", "needs the hub; tests/team/test_hub.py"),
    ("docs/presets.md", "# MTIL in order I", "", "an overlay"),
    ("CONTRIBUTING.md", "make test", "make (test|lint|docs)", SUITE),
    ("README.md", "git clone", "", NETWORK),
    ("CONTRIBUTING.md", "# 1. datasets/new_task.py", "", "parts of functions, before and after"),
    ("README.md", "make repro", "make test", SUITE),
    ("README.md", "make setup", "make (setup|remote)", NETWORK),
    ("README.md", "gift presets", "gift (data|doctor|rehearse)|make repro", FULL_SIZE),
    ("README.md", "gift metrics", "gift compare", "minutes; tests/docs/test_adding_a_method.py runs it"),
    ("docs/data_sets.md", "gift add-task pets --hub", "", NETWORK),
    ("docs/data_sets.md", "gift data", "gift data (fetch|verify)", FULL_SIZE),
    ("docs/doctor.md", "gift doctor", "gift doctor --preset", FULL_SIZE),
    ("docs/full_size.md", "python -m benchmarks|make gpu-checks", "", "2.7 GB; a GPU"),
    ("docs/full_size.md", "gift use", "gift (data|doctor|rehearse)|make repro", FULL_SIZE),
    ("docs/install.md", "python -m venv|pip |git clone", "", f"{NETWORK}; tests/end_to_end/test_wheel.py"),
    ("docs/library.md", "python examples/", "", "tests/docs/test_library_page.py runs it"),
    ("docs/presets.md", "gift presets", "gift doctor", FULL_SIZE),
    ("docs/team.md", "umask 002", "mkdir|ch|make|dvc", "changes the machine"),
    ("docs/team_tools.md", "gift hub|hf download|pip install|dvc plots diff", "", "tests/team does"),
    ("docs/team_tools.md", "gift gate", "", "it says no, with exit code 1; tests/team/test_workflow.py runs it"),
]


@pytest.fixture(scope="module")
def finished(first_result: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the small experiment has run and was pushed, with what the pages take as given beside it."""
    project = copy_of(first_result / "gift", tmp_path_factory.mktemp("finished") / "gift")
    prepare(project)
    project.run("dvc", "push", "--run-cache")
    write_runs(project.folder, of=project.folder)
    return project.folder


@pytest.fixture
def bare(first_result: Path, tmp_path: Path) -> Clone:
    """A clone in which nothing has run, with an experiment of small size, in a home with photos."""
    project = new_project(tmp_path / "gift")
    params = small(project.params)
    project.write_params(params)
    with (project.folder / "presets" / "bring_your_own.yaml").open("a", encoding="utf-8") as preset:
        yaml.safe_dump({section: params[section] for section in OF_THE_MINIATURE}, preset)
    prepare(project)
    write_runs(project.folder, of=first_result / "gift")
    write_photos(tmp_path)
    return project


def prepare(project: Clone) -> None:
    """Gives a project the command `gift`, so that make installs nothing, and a remote beside it."""
    install_gift(project)
    project.environment |= of_user(project)
    project.run("gift", "remote", str(project.folder.parent / "store"))
    commit(project, "the remote")


def write_runs(folder: Path, *, of: Path) -> None:
    """Writes runs with several seeds, and accuracies of another program."""
    for number, name in enumerate(("runs/seed_42", "runs/seed_43", "runs/seed_44", "run_1", "run_2", "run_3")):
        run = folder / name
        shutil.copytree(of / "data" / "6_accuracy", run / "data" / "6_accuracy")
        text = (of / "params.yaml").read_text(encoding="utf-8")
        (run / "params.yaml").write_text(text.replace("\nseed: 42\n", f"\nseed: {42 + number}\n"), encoding="utf-8")
    steps = (("pretrained", -1), ("a", 0), ("b", 1))
    rows = [f"gift,{step},{trained},{tested},0.5" for trained, step in steps for tested in "ab"]
    rows.insert(0, "method,step,trained_task,eval_task,top1")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def of_user(project: Clone) -> dict[str, str]:
    """What the environment of a user of the project has, whose home is the folder around it."""
    return {"PYTHONPATH": str(project.folder), "HOME": str(project.folder.parent), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Clone:
    """A copy of the finished project in a home with photos, to change."""
    folder = tmp_path / "gift"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.copytree(finished.parent / "store", tmp_path / "store")
    write_photos(tmp_path)
    project = Clone(folder)
    tools = f"{folder / '.venv' / 'bin'}:{project.environment['PATH']}"
    project.environment |= of_user(project) | {"PATH": tools}
    project.edit(".dvc/config", f"url = {finished.parent / 'store'}", f"url = {tmp_path / 'store'}")
    return project


def left_out(block: Block) -> dict[int, str]:
    """The entries of NOT_RUN about a block: {position: pattern of the commands that do not run}."""
    entries = enumerate(NOT_RUN)
    return {at: text for at, (page, start, text, _) in entries if page == block.page and re.match(start, block.code)}


def to_run(page: str) -> list[Block]:
    """The blocks of a page that run here."""
    blocks = [block for block in blocks_of(ROOT, page) if not (block.fenced and page in FOLLOWED)]
    return [block for block in blocks if "" not in left_out(block).values()]


def typed(block: Block) -> list[str]:
    """The commands of a block that run here: an edit of params.yaml that a comment names, too."""
    if block.language == "python":
        return [f"cat > snippet.py <<'END'\n{block.code}\nEND\npython snippet.py"]
    lines = EDIT.sub(lambda edit: f"python edit.py {edit[1]} {edit[2]} {edit[3]}", block.code)
    patterns = left_out(block).values()
    return [line for line in replace(block, code=lines).commands if not any(re.match(each, line) for each in patterns)]


def read_in_one_terminal(page: str, project: Clone) -> None:
    """Runs what a reader of the page types, until the first error."""
    (project.folder / "edit.py").write_text(EDIT_SCRIPT, encoding="utf-8")
    script = "\n".join(["set -eE", "trap 'echo \"FAILED: $BASH_COMMAND\"' ERR", *chain(*map(typed, to_run(page)))])
    project.run("bash", "-c", script)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md" and to_run(page)])
def test_every_block_of_a_guide_runs_as_printed(page: str, project: Clone) -> None:
    read_in_one_terminal(page, project)


def test_the_readme_runs_from_a_bare_clone(bare: Clone) -> None:
    read_in_one_terminal("README.md", bare)
    assert (bare.folder / "exports" / "merged" / "open_clip_config.json").is_file()


def test_what_is_listed_as_not_run_is_on_its_page() -> None:
    blocks = [block for page in PAGES for block in blocks_of(ROOT, page)]
    found = [(at, text, block.commands) for block in blocks for at, text in left_out(block).items()]
    used = {at for at, text, lines in found if not text or any(re.match(text, line) for line in lines)}
    assert used == set(range(len(NOT_RUN)))
    for page, test in FOLLOWED.items():
        assert f'"{Path(page).name}"' in (ROOT / test).read_text(encoding="utf-8")
