"""Changes of params.yaml by commands: methods that are added, tasks or methods that are removed, an order of tasks.

gift_core.datasets.new_task adds a task. What a change would be is known before anything is written. A removal keeps all
other lines, except for `after` of the next step. The catalogue, presets/methods.yaml, has the row of each method, and
what it is in one sentence. In a preset, `lwf: catalogue` below `methods` stands for the row.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from gift_core.config.editing import append_method, remove_method, remove_task, set_order
from gift_core.config.experiment import Config
from gift_core.config.loading import parse_config, read_settings
from gift_core.config.yaml_text import Document, text_of, values_of
from gift_core.errors import UserError, did_you_mean, lookup
from gift_core.layout import shipped_root
from gift_core.untrusted import parse_yaml
from gift_core.work.publishing import write_atomically

BASE = "gift"
CATALOGUE = "methods.yaml"  # beside the presets, and none itself
MINIATURE = "/mini/clip"  # ends the name of the miniature CLIP
ITERATIONS = 1000  # per task, for which the rows are written
SEVERAL_VALUES = re.compile(r"[\w.]+=[\w.+-]+(,[\w.+-]+)+")
COUNTED = (("average", "every"), ("consolidation", "iterations"))


@dataclass(frozen=True)
class KnownMethod:
    """A method of the catalogue: what it is, and the lines of each slot of its row, with comments."""

    about: str
    lines: Mapping[str, str]

    @property
    def text(self) -> str:
        return "".join(self.lines.values())

    @property
    def row(self) -> dict[str, Any]:
        return dict(parse_yaml(self.text))


def read_catalogue(folder: Path, *, model: str, iterations: int) -> dict[str, KnownMethod]:
    """Returns the methods of folder/methods.yaml, or where there is none, of the file that comes with GIFT.

    The rows are for an experiment with this model.name and training.iterations. UserError if the file is damaged.
    """
    files = (folder / CATALOGUE, shipped_root() / "presets" / CATALOGUE)
    file = next(file for file in files if file.is_file())
    try:
        return _methods(read_settings(file), model.endswith(MINIATURE), iterations)
    except (ValueError, LookupError, TypeError, AttributeError, UserError) as error:
        problem = f"it should have `about` and the row of each method ({error})"
        raise UserError(f"{file}: {problem}. Correct it, or remove it to use GIFT's own.") from None


def catalogue_rows(params: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the rows of the catalogue as plain data, for the experiment `params`. `folder` and errors as above."""
    known = read_catalogue(folder, model=params["model"]["name"], iterations=params["training"]["iterations"])
    return {name: method.row for name, method in known.items()}


@lru_cache(maxsize=4)
def _methods(text: str, miniature: bool, iterations: int) -> dict[str, KnownMethod]:
    document = Document.parse(text, CATALOGUE)
    methods = {}
    for name, method in document.entries(document.root).items():
        changes = document.find(name, "mini") if miniature else None
        edits = []
        for key, value in values_of(changes).items() if changes else ():
            edits += document.replaced(document.entry(name, *key.split(".")), text_of(value))
        for section, key in COUNTED:
            number = document.find(name, section, key)
            if number:
                scaled = max(1, int(number.value) * iterations // ITERATIONS)
                edits += document.replaced(document.entry(name, section, key), str(scaled))
        row = Document.parse(document.edited(edits, method.start, method.end))
        lines = {slot: lines for slot, lines in row.lines(row.find(name)).items() if slot not in ("about", "mini")}
        methods[name] = KnownMethod(values_of(method.value)["about"].value, lines)
    return methods


@dataclass(frozen=True)
class ParamsEdit:
    """A new text for the file `params`. `config` is the experiment in it."""

    params: Path
    before: str
    after: str
    config: Config

    def difference(self) -> list[str]:
        """Returns the lines of a unified diff of the file with one line of context."""
        name = self.params.name
        before, after = self.before.splitlines(), self.after.splitlines()
        return list(difflib.unified_diff(before, after, name, name, n=1, lineterm=""))

    def carry_out(self) -> None:
        """Replaces the file atomically. A link to it stays."""
        with write_atomically(self.params.resolve()) as temporary:
            temporary.write_bytes(self.after.encode())


def rows_of_values(name: str, settings: Sequence[str]) -> dict[str, list[str]]:
    """Returns the settings of each row to add, by its name: {name: settings}, unless a setting has several values.

    "losses.distill.weight=0.5,1,2" gives <name>_0_5, <name>_1 and <name>_2. A value with spaces, quotes or brackets is
    one value. UserError for several keys with several values, and for values whose rows would have one name.
    """
    several = [setting for setting in settings if SEVERAL_VALUES.fullmatch(setting)]
    if not several:
        return {name: list(settings)}
    key, _, text = several[0].partition("=")
    values = {f"{name}_{re.sub('[^a-z0-9]', '_', value.lower())}": value for value in text.split(",")}
    if len(several) > 1 or len(values) < len(text.split(",")):
        problem = "give several values to one key only, and values that differ in letters or digits"
        raise UserError(f"gift add-method --set {' --set '.join(several)}: {problem}.")
    others = [setting for setting in settings if setting != several[0]]
    return {row: [f"{key}={value}", *others] for row, value in values.items()}


def plan_methods(rows: Mapping[str, Sequence[str]], *, base: str | None, params: Path) -> tuple[ParamsEdit, str | None]:
    """Returns the addition of copies of the row `base`, and of which row they are copies. Nothing is written.

    `rows`: by name, settings such as "losses.distill.weight=2.0". Without a base, it is the row that the catalogue has
    under the name, or else of gift. None in place of it: the row exists and only gets its name in run.methods.

    Raises:
        UserError: a name is taken or unknown, so is the base, or the checks of params.yaml refuse a row.
    """
    before = after = read_settings(params)
    present = parse_config(before, params.name)
    known = known_methods(present, params)
    copied: str | None = None
    for name, settings in rows.items():
        is_copy = base is not None or bool(settings)
        copied = base or (name if name in known else BASE)
        if name in present.methods:
            is_running = name in present.run.methods
            if is_copy or is_running:
                how = "it runs already" if is_running else f"to run it as it is: gift add-method {name}"
                raise UserError(f"params.yaml: methods.{name}: already exists; {how}. Choose another name for a copy.")
            copied = None
        elif not is_copy and name not in known:
            problem = f"unknown name {name!r}. {did_you_mean(name, {*present.methods, *known})}"
            remedy = f"For a row of your own, say of which it is a copy: --from {BASE}"
            raise UserError(f"gift add-method: {problem} {remedy}")
        after = append_method(after, name, copied, settings, known)
    return ParamsEdit(params, before, after, parse_config(after, params.name)), copied


def known_methods(config: Config, params: Path) -> dict[str, KnownMethod]:
    """Returns the catalogue's methods for this experiment (see read_catalogue). `params` is its file."""
    return read_catalogue(params.parent / "presets", model=config.model.name, iterations=config.training.iterations)


def plan_task_removal(names: Sequence[str], *, params: Path) -> tuple[ParamsEdit, tuple[str, ...]]:
    """Returns the removal of tasks, their steps, and the links to them in the steps after. Nothing is written.

    Also the tasks that move to an earlier step, since one before them goes.

    UserError for an unknown name, and a params.yaml that is not valid or cannot be edited.
    """
    text = after = read_settings(params)
    before = parse_config(text, params.name)
    for name in dict.fromkeys(names):
        lookup(before.tasks, name, f"{params.name}: tasks")
        after = remove_task(after, name)
    order = [step.task for step in before.sequence]
    first = min((order.index(name) for name in names if name in order), default=len(order))
    later = tuple(task for task in order[first:] if task not in names)
    return ParamsEdit(params, text, after, parse_config(after, params.name)), later


def plan_order(names: Sequence[str], *, params: Path) -> tuple[ParamsEdit, list[str]]:
    """Returns the sequence in the order of these tasks, and which of them are learned again: from the first change on.

    UserError unless they are the tasks of the sequence, each once.
    """
    text = read_settings(params)
    order = [step.task for step in parse_config(text, params.name).sequence]
    for name in names:
        lookup(dict.fromkeys(order), name, f"gift order: {params.name}: sequence")
    missing = [name for name in order if name not in names]
    if missing:
        whole = f"gift order {' '.join([*names, *missing])}"
        raise UserError(f"gift order: missing: {', '.join(missing)}. Name all tasks of the sequence, such as: {whole}")
    repeated = [name for name in order if names.count(name) > 1]
    if repeated:
        raise UserError(f"gift order: named twice: {', '.join(repeated)}. Name each task once.")
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(order, names, strict=True)))
    after = set_order(text, names)
    return ParamsEdit(params, text, after, parse_config(after, params.name)), list(names[same:])


def plan_method_removal(names: Sequence[str], *, params: Path) -> tuple[ParamsEdit, list[str]]:
    """Returns the removal of methods, their rows and their names in run.methods, and which they are.

    A name may be a pattern: strength_*. Nothing is written. UserError as above, and for a pattern of no method.
    """
    text = after = read_settings(params)
    known = parse_config(text, params.name).methods
    removed = [method for name in names for method in fnmatch.filter(known, name) or [name]]
    for name in dict.fromkeys(removed):
        after = remove_method(after, name)
    return ParamsEdit(params, text, after, parse_config(after, params.name)), list(dict.fromkeys(removed))
