"""HTML in texts of other people stays text in the report and in the comparison."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gift_core.layout import Layout
from gift_core.report.comparison.compare import compare_runs
from gift_core.report.page import build_report
from tests.report import run_folder
from tests.report.run_folder import write_pictures, write_run

EVIL = "</script></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{7*7}}&lt;"


class Elements(HTMLParser):
    """The kinds of elements of a page with the names of their attributes, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.scripts, self.text = 0, ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, tuple(sorted(name for name, _ in attrs))))
        self.scripts += tag == "script"
        self.text += "".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def run_with(root: Path, text: str) -> Path:
    """A finished run in which every text that comes from outside is `text`."""
    config = write_run(root, changes={"experiment": text.replace("/", "")})  # a name with / is refused
    for file in (root / "data" / "1_tasks").glob("*/task.json"):
        content = json.loads(file.read_text())
        content |= {"class_names": [f"{text} {number}" for number in range(10)], "templates": [f"{text} {{}}"]}
        content |= {"notes": [text], "skipped": [[text, text]], "source": text}
        file.write_text(json.dumps(content))
    write_pictures(Layout(root), config)
    return root


def test_html_is_text_in_the_report_and_in_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []
    for name, text in (("clean", "harmless"), ("evil", EVIL)):
        monkeypatch.setattr(run_folder, "PROMPTS", (text, text))
        root = run_with(tmp_path / name, text)
        build_report(Layout(root), run_folder.load_config(root / "params.yaml"), root / "reports")
        pages.append(Elements(root / "reports" / "index.html"))
    clean, evil = pages
    assert evil.found == clean.found
    assert evil.scripts == clean.scripts
    found = evil.text.count(EVIL) + evil.text.count(EVIL.replace("/", ""))
    assert found >= clean.text.count("harmless") >= 3
    compare_runs([root], tmp_path / "out")
    page = Elements(tmp_path / "out" / "index.html")
    assert EVIL.replace("/", "") in page.text
    assert not any("onerror" in names for _, names in page.found)
