"""A page in a real Chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
MISSING = "no chromium or google-chrome on the PATH"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
    "--window-size=1400,1000", "--dump-dom",
]  # fmt: skip
ERRORS = """<script>var errors = []; onerror = (text) => { errors.push(text); };
console.error = (...texts) => { errors.push(texts.join(" ")); };</script>"""
# a page that shows another one in a frame, and what an expression gives there
FRAME = """<iframe src="{page}" style="width: {width}px; height: 900px; border: 0"
onload="document.body.append(JSON.stringify(contentWindow.eval({script})))"></iframe>"""


def evaluate(page: Path, script: str, *, width: int = 1280, dark: bool = False) -> Any:
    """The value of a JavaScript expression in the page, which is shown with this width in CSS pixels."""
    copy = page.with_name("copy.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{ERRORS}", 1), encoding="utf-8")
    frame = FRAME.format(page=copy.name, width=width, script=html.escape(json.dumps(script)))
    page.with_name("frame.html").write_text(f"<!doctype html><body>{frame}</body>", encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    profile, address = f"--user-data-dir={page.parent / 'profile'}", page.with_name("frame.html").resolve().as_uri()
    done = subprocess.run([CHROMIUM, *FLAGS, scheme, profile, address], capture_output=True, text=True, timeout=120)
    (found,) = re.findall(r"</iframe>\s*(.*?)</body>", done.stdout, re.DOTALL)
    return json.loads(html.unescape(found))
