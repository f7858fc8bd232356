"""A reader, a section, a command and a check of the doctor are added to the files that docs/architecture.md names.

A loss, a consolidation and a method are added by docs/adding_a_method.md (tests/docs/test_adding_a_method.py).
"""

from __future__ import annotations

import re
import sys

import pytest
from PIL import Image

from gift_core.code.versions import TABLE
from tests.clone import Clone
from tests.imports import ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.thorough]
NEW = ""  # instead of a line of the file: the file is new
# The row of the table -> {file: {the line above which the text is added: text}}.
ADDED: dict[str, dict[str, dict[str, str]]] = {
    "a reader of data": {
        "gift_core/datasets/named_files.py": {
            NEW: """from gift_core.datasets.dataset import Listing, Sample


def list_named(name, config, root):
    files = sorted((root / config.path).glob(f"*{config.suffix}"))
    samples = [Sample(file.name.split("_")[0], file.name, file.stat().st_size, file.read_bytes) for file in files]
    return Listing(samples, f"params.yaml: tasks.{name}.path: {config.path}")
"""
        },
        "gift_core/datasets/ingest.py": {
            "from gift_core.errors": "from .named_files import list_named\n",
            '    "folder": list_folder,': '    "named": list_named,\n',
        },
        "gift_core/config/tasks.py": {
            "class TableTaskConfig": """class NamedTaskConfig(UserTaskConfig):
    source: Literal["named"]
    suffix: Text


""",
            "    MiniTaskConfig | FolderTaskConfig": "    NamedTaskConfig |\n",
        },
    },
    "a section of the report": {
        "gift_core/report/greeting.py": {
            NEW: """from gift_core.report.run_record import Section


def greeting(record):
    yield Section("greeting", "A greeting", "greeting.html.j2", {"name": record.config.experiment})
"""
        },
        "gift_core/report/templates/greeting.html.j2": {
            NEW: '<section id="greeting"><h2>A greeting</h2><p>Hello, {{ name }}!</p></section>\n'
        },
        "gift_core/report/page.py": {
            "from gift_core.report.highlight": "from .greeting import greeting\n",
            "    what_ran,\n)": "    greeting,\n",
        },
    },
    "a command": {
        "stages/commands/hello.py": {
            NEW: '''import typer


def hello(name: str) -> None:
    """Greet somebody."""
    typer.echo(f"Hello, {name}!")
'''
        },
        "stages/app.py": {
            "from .commands.models import": "from .commands.hello import hello\n",
            "        init, doctor, rehearse": "        hello,\n",
        },
    },
    "a check of the doctor": {
        "gift_core/doctor/names.py": {
            NEW: """from gift_core.doctor.finding import Finding


def check_name(project):
    yield Finding("name", "info", f"the name has {len(project.config.experiment)} letters")
"""
        },
        "gift_core/doctor/examine.py": {
            "from gift_core.errors": "from .names import check_name\n",
            "    (DATA, check_data)": "    (DATA, check_name),\n",
        },
    },
}
ROWS = dict(
    re.findall(
        r"^\| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE
    )
)


@pytest.mark.parametrize("what", ADDED)
def test_the_files_are_those_that_the_table_names(what: str) -> None:
    named = re.findall(r"`([a-z_/.]+)`", ROWS[what])
    for file, texts in ADDED[what].items():
        path = file.removeprefix("gift_core/")
        assert path in named or (NEW in texts and f"{path.rpartition('/')[0]}/" in named), file


@pytest.fixture(scope="module")
def extended(clone: Clone) -> Clone:
    """The finished small experiment, with everything added and one task more."""
    for file, texts in (each for files in ADDED.values() for each in files.items()):
        for anchor, text in texts.items():
            if anchor == NEW:
                (clone.folder / file).write_text(text, encoding="utf-8")
            else:
                clone.edit(file, f"\n{anchor}", f"\n{text}{anchor}")
    folder = clone.folder / "data" / "0_raw" / "named"
    folder.mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (8, 8), (number, 99, 9)).save(folder / f"{'cat' if number % 2 else 'dog'}_{number}.png")
    row = {"source": "named", "path": "data/0_raw/named", "suffix": ".png", "templates": ["a {}."]}
    params = clone.params
    params["tasks"]["named"] = {**row, "test_fraction": 0.5, "on_bad_image": "refuse"}
    clone.write_params(params)
    with (clone.folder / TABLE).open("a", encoding="utf-8") as table:  # its last stage is the report
        table.write("  99: it greets\n")
    clone.run(sys.executable, "-m", "recipes.versions")
    return clone


def test_only_what_reads_them_runs_and_all_of_them_work(extended: Clone) -> None:
    assert set(extended.repro()) == {"check", "ingest@named", "report"}
    page = (extended.folder / "reports" / "index.html").read_text(encoding="utf-8")
    assert f"Hello, {extended.params['experiment']}!" in page and 'href="#greeting"' in page
    gift = (sys.executable, "-m", "stages")
    assert "Hello, you!" in extended.run(*gift, "hello", "you")
    assert "hello" in extended.run(*gift, "--help")
    assert "the name has" in extended.run(*gift, "doctor", "--json")
    assert extended.repro() == []
