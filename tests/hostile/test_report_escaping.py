"""HTML in texts of other people stays text in the report and in the comparison."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gift_core.layout import Layout
from gift_core.report.comparison.compare import compare_runs
from gift_core.report.page import build_report
from tests.report import run_folder
from tests.report.run_folder import write_pictures, write_run

EVIL = "</script></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{7*7}}&lt;"
ESCAPED = "&lt;script&gt;alert(1)&lt;"


def texts_of(page: Path) -> str:
    """The page, of which no script and no attribute was written by the text."""
    html = page.read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<img src=x" not in html
    assert not re.search(r"""(?<!\\)"'`""", html), "a quotation mark that ends an attribute"
    return html


def test_html_is_text_in_the_report_and_in_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "PROMPTS", (EVIL, EVIL))
    root = tmp_path
    config = write_run(root, changes={"experiment": EVIL.replace("/", "")})  # a name with / is refused
    for file in (root / "data" / "1_tasks").glob("*/task.json"):
        texts = {"class_names": [f"{EVIL} {number}" for number in range(10)], "templates": [f"{EVIL} {{}}"]}
        texts |= {"notes": [EVIL], "skipped": [[EVIL, EVIL]], "source": EVIL}
        file.write_text(json.dumps(json.loads(file.read_text()) | texts))
    write_pictures(Layout(root), config)
    build_report(Layout(root), config, root / "reports")
    assert texts_of(root / "reports" / "index.html").count(ESCAPED) >= 3
    compare_runs([root], tmp_path / "out")
    assert ESCAPED in texts_of(tmp_path / "out" / "index.html")
