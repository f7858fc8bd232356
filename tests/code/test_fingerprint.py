"""What a stage runs is followed import by import, and its hashes are the same on every Python version."""

from __future__ import annotations

from pathlib import Path

from gift_core.code.fingerprint import Code, units_of

# Syntax whose tree or output of ast.dump and ast.unparse differs between Python versions.
SAMPLE = '''"""A docstring."""
from __future__ import annotations
import math
from typing import TYPE_CHECKING, TypeVar
if TYPE_CHECKING:
    from pathlib import Path
T = TypeVar("T")
NUMBERS = (1, 1.5, 1e-7, 10**20, 2j, -0.0, None, True, ..., b"a\\x00", "\\u00e9\\n", 'it"s')

class A(dict[str, int], metaclass=type):
    """Another docstring."""

    x: int = 3

    async def f(self, a, /, b=1, *c: int, d: str = "e", **g) -> list[int]:
        async with a as h, b:
            pass
        return [i async for i in c if i] or {**g, "k": d[1:2, ::3]}

def outer(value: object) -> str:
    match value:
        case {"a": [1, *rest], **more} if rest:
            return f"{value!r:>{10}} {more=} {{}} {'x'} {value:%Y-%m}"
        case A(x=1) | None:
            pass
    try:
        assert value, f"a message about {value}"
        lambda *a, k=1: (yield)
    except (ValueError, KeyError) as error:
        raise RuntimeError("a text") from error
    else:
        global T
        del value
    return "a" "b" f"c{math.pi:.2f}"
'''
RECORDED = "573ed51"  # of SAMPLE, on Python 3.11 and 3.13


def hash_of(text: str) -> str:
    return units_of("gift_core/a.py", text)[""].hash


BASE = "def f(x):\n    return x + 1\n"
RAISE = "def f(x):\n    if x < {}:\n        raise {}('{}')\n"
SAME = {
    "a comment": "# why\ndef f(x):  # how\n    return x + 1\n",
    "a docstring": '"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1\n',
    "layout": "def f(\n    x,\n):\n\n    return (x\n        + 1)\n",
    "a type-checking import": "if TYPE_CHECKING:\n    import z\ndef f(x):\n    return x + 1\n",
}
DIFFERENT = {
    "an operator": "def f(x):\n    return x - 1\n",
    "a type of number": "def f(x):\n    return x + 1.0\n",
    "a default": "def f(x=0):\n    return x + 1\n",
    "a decorator": "@cache\ndef f(x):\n    return x + 1\n",
    "a new line of code": "y = 1\ndef f(x):\n    return x + 1\n",
}


def test_what_may_change_a_result_counts_and_nothing_else_and_the_hash_of_a_sample_is_the_recorded_one() -> None:
    assert hash_of(SAMPLE) == RECORDED
    counts = {change: hash_of(text) != hash_of(BASE) for change, text in {**SAME, **DIFFERENT}.items()}
    assert counts == {**dict.fromkeys(SAME, False), **dict.fromkeys(DIFFERENT, True)}
    changes = [(1, "ValueError", "a"), (1, "ValueError", "b"), (1, "KeyError", "a"), (2, "ValueError", "a")]
    base, words, kind, limit = (hash_of(RAISE.format(*each)) for each in changes)
    assert words == base and base not in (kind, limit)


LOSSES = """
from gift_core.b import helper
from gift_core.c import other
def align(): return shared()
def shared(): return helper()
def distill(): return other()
def used(): return 1
LOSSES = {"align": align, "distill": distill}
"""


def test_imports_are_followed_and_what_only_an_option_uses_counts_with_it_and_is_its_part(tmp_path: Path) -> None:
    texts = {
        "stages/run.py": "def run():\n    from gift_core.a import LOSSES, used\n    return LOSSES, used\n",
        "gift_core/a.py": "from gift_core import layout, progress\nfrom gift_core.method.losses import LOSSES, used\n"
        "if TYPE_CHECKING:\n    from gift_core import unused\n",
        "gift_core/unused.py": "",
        "gift_core/progress.py": "",
        "gift_core/layout.py": "FILES = 1\nclass Layout: pass\n",
        "gift_core/method/losses.py": LOSSES,
        "gift_core/b.py": "def helper(): pass\n",
        "gift_core/c.py": "def other(): pass\n",
        "gift_core/rows/names.csv": "one\n",
        "gift_core/other/d.py": "",
        "gift_core/other/names.csv": "one\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    losses, layout = "gift_core/method/losses.py", {"gift_core/layout.py", "gift_core/layout.py: Layout"}
    always = {"stages/run.py", "gift_core/a.py", "gift_core/rows/names.csv", losses, f"{losses}: used", *layout}
    align = {f"{losses}: LOSSES[align]", f"{losses}: align", f"{losses}: shared", "gift_core/b.py"}
    distill = {f"{losses}: LOSSES[distill]", f"{losses}: distill", "gift_core/c.py"}

    def reached(*options: str) -> dict[str, set[str]]:
        return {part: {*units} for part, units in Code(tmp_path).reached("run", options).items()}

    assert reached() == {"": always} and {*Code(tmp_path).reached("run")} == {"", "losses.align", "losses.distill"}
    assert reached("losses.align") == {"": always, "losses.align": align}
    assert reached("losses.align", "losses.distill") == {"": always, "losses.align": align, "losses.distill": distill}
    before = Code(tmp_path).reached("run", ())[""]
    (tmp_path / "gift_core" / "rows" / "names.csv").write_text("two\n", encoding="utf-8")
    changed = before.items() ^ Code(tmp_path).reached("run", ())[""].items()
    assert {key for key, _ in changed} == {"gift_core/rows/names.csv"}
