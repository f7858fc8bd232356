"""`import gift_core` is light, and its public names are documented and found."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import gift_core
from tests.conftest import PROJECT


def test_the_import_loads_nothing_and_the_names_are_loaded_when_they_are_used() -> None:
    check = (
        "import sys, gift_core\n"
        "print([name for name in ('torch', 'open_clip', 'pydantic', 'yaml', 'numpy') if name in sys.modules])\n"
        "gift_core.UserError\n"
        "print('torch' in sys.modules)\n"
        "gift_core.distill\n"
        "print('torch' in sys.modules, 'diffusers' in sys.modules)\n"
    )
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert printed.stdout.splitlines() == ["[]", "False", "True False"]


@pytest.mark.parametrize("name", gift_core.__all__)
def test_a_public_name_is_found_and_documented(name: str) -> None:
    found = getattr(gift_core, name)
    assert len(inspect.getdoc(found) or "") > 30
    assert name in dir(gift_core)
    assert f"`{name}`" in (PROJECT / "docs" / "library.md").read_text(encoding="utf-8")
