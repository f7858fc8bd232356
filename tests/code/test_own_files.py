"""The hashes of files of the project that params.yaml names, and of what they import."""

from __future__ import annotations

from pathlib import Path

from gift_core.code.own_files import own_files


def test_an_edit_of_the_code_of_a_file_or_of_what_it_imports_changes_a_hash_and_a_comment_none(tmp_path: Path) -> None:
    files = {
        "mine.py": "import torch\nfrom research.parts import square\nfrom gift_core.method import losses\n",
        "research/__init__.py": "",
        "research/parts.py": '"""Parts."""\nfrom . import more\ndef square(x):\n    return x * x\n',
        "research/more.py": "",
        "research/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    before = own_files(tmp_path, ["mine.py", "missing.py"])
    assert [*before] == ["mine.py", "missing.py", "research/__init__.py", "research/more.py", "research/parts.py"]
    parts = tmp_path / "research" / "parts.py"
    parts.write_text("# a comment\n" + files["research/parts.py"].replace("Parts", "Other"), encoding="utf-8")
    assert own_files(tmp_path, ["mine.py", "missing.py"]) == before
    parts.write_text(files["research/parts.py"].replace("x * x", "x + x"), encoding="utf-8")
    after = own_files(tmp_path, ["mine.py", "missing.py"])
    assert {name for name in after if after[name] != before[name]} == {"research/parts.py"}
