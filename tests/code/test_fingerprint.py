"""What a stage runs is followed import by import, and its hashes are the same on every Python version."""

from __future__ import annotations

import ast
from pathlib import Path

from gift_core.code.fingerprint import CodeBase, read_module
from gift_core.code.syntax import digest_of, normalized

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
RECORDED = "473e63b5"  # of SAMPLE, on Python 3.11 and 3.13


def hash_of(text: str) -> str:
    return digest_of(normalized(ast.parse(text)).encode())


def test_the_hash_of_a_sample_is_the_recorded_one() -> None:
    assert hash_of(SAMPLE) == RECORDED


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


def test_what_may_change_a_result_counts_and_nothing_else() -> None:
    counts = {change: hash_of(text) != hash_of(BASE) for change, text in {**SAME, **DIFFERENT}.items()}
    assert counts == {**dict.fromkeys(SAME, False), **dict.fromkeys(DIFFERENT, True)}
    changes = [(1, "ValueError", "a"), (1, "ValueError", "b"), (1, "KeyError", "a"), (2, "ValueError", "a")]
    base, words, kind, limit = (hash_of(RAISE.format(*each)) for each in changes)
    assert words == base and base not in (kind, limit)


def reached(folder: Path, *options: str, **modules: str) -> set[str]:
    """What `run` in stages/run.py reaches of these modules of gift_core with the options, without empty modules."""
    (folder / "stages").mkdir(parents=True)
    (folder / "gift_core" / "method").mkdir(parents=True)
    (folder / "stages" / "run.py").write_text(modules.pop("run"), encoding="utf-8")
    for name, text in modules.items():
        (folder / "gift_core" / f"{name.replace('_', '/')}.py").write_text(text, encoding="utf-8")
    found = CodeBase(folder).reached("run", options)
    return {key.removeprefix("gift_core/") for key, digest in found.items() if digest}


def test_modules_are_followed_through_imports_also_inside_functions(tmp_path: Path) -> None:
    found = reached(
        tmp_path,
        run="def run():\n    from gift_core.b import g\n    return g()\n",
        b="from gift_core import c, progress\nif TYPE_CHECKING:\n    from gift_core import d\ng = c.h\n",
        c="N = 1\n",
        d="unused = 1\n",
        progress="shown = 1\n",
    )
    assert found == {"stages/run.py", "b.py", "c.py"}


LOSSES = """
from gift_core.b import helper
from gift_core.c import other
def align(): return shared()
def shared(): return helper()
def distill(): return other()
def used(): return 1
LOSSES = {"align": align, "distill": distill}
"""


def test_an_entry_of_a_table_and_what_only_it_uses_count_with_its_option(tmp_path: Path) -> None:
    run = "from gift_core.method.losses import LOSSES, used\ndef run(): return LOSSES, used\n"
    modules = {"run": run, "method_losses": LOSSES, "b": "def helper(): pass\n", "c": "def other(): pass\n"}
    always = {"stages/run.py", "method/losses.py: used"}
    aligned = {"method/losses.py: LOSSES[align]", "method/losses.py: align", "method/losses.py: shared", "b.py"}
    assert reached(tmp_path / "1", **modules) == always
    assert reached(tmp_path / "2", "losses.align", **modules) == always | aligned
    assert reached(tmp_path / "3", "losses.distill", **modules) == always | {
        "method/losses.py: LOSSES[distill]", "method/losses.py: distill", "c.py",
    }  # fmt: skip


def test_data_files_beside_a_module_count_by_their_bytes(tmp_path: Path) -> None:
    reached(tmp_path, run="from gift_core.a import x\ndef run(): return x\n", a="x = 1\n")
    data = tmp_path / "gift_core" / "rows" / "names.csv"
    for file in (data, tmp_path / "gift_core" / "other" / "b.py", tmp_path / "gift_core" / "other" / "other.csv"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("one\n", encoding="utf-8")
    before = CodeBase(tmp_path).reached("run", ())
    assert [name for name in before if not name.endswith(".py")] == ["gift_core/rows/names.csv"]
    data.write_text("two\n", encoding="utf-8")
    assert CodeBase(tmp_path).reached("run", ())["gift_core/rows/names.csv"] != before["gift_core/rows/names.csv"]


def test_of_params_yaml_the_methods_and_the_defaults_of_sections_count() -> None:
    def hash_with(fields: str, *, before: str = "", method: str = "1") -> str:
        text = f"{before}\nclass A:\n{fields}\n    def f(self):\n        return {method}\n"
        return read_module("gift_core/config/rows.py", text).units[""].hash

    base = hash_with("    x: int")
    assert hash_with("    x: str\n    new: int | None = None", before="LIMIT = 3") == base
    assert base != hash_with("    x: int", method="2")
    assert base != hash_with("    x: int = 1") != hash_with("    x: int = 2")
    assert hash_with("    x: int = 1") == hash_with("    x: float = 1")


def test_an_options_class_of_params_yaml_counts_with_the_option_that_chooses_it() -> None:
    text = """
class TableTaskConfig(Section):
    source: Literal["table"]
class NewTaskConfig(Section):
    source: Literal["new"]
    suffix: Text = ".png"
TaskConfig = Annotated[TableTaskConfig | NewTaskConfig, Field(discriminator="source")]
def check(task): return task
"""
    file = "gift_core/config/tasks.py"
    module = read_module(file, text)
    assert module.options == {"TableTaskConfig": "source.table", "NewTaskConfig": "source.new"}
    assert set(module.units) == {"", *module.options}
    edited = read_module(file, text.replace(".png", ".jpg")).units
    assert [name for name, unit in module.units.items() if edited[name].hash != unit.hash] == ["NewTaskConfig"]
    losses = "class A(Options):\n    x: int = 1\nclass LossesConfig(Section):\n    distill: A | None = None\n"
    assert read_module("gift_core/config/method_options.py", losses).options == {"A": "losses.distill"}
