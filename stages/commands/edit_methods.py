"""methods, add-method, remove-method: the rows of methods in params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.work.publishing import write_atomically

from ..command_line import AsJson, DryRun, carry_out, hint, next_step, print_json, print_names
from ..options import PARAMS, ROOT, Params, Root, argument, option, params_of
from .edit_params import STAYS

if TYPE_CHECKING:
    from gift_core.config.own_code import OwnCode

OWN_LOSS = "Add a loss of your own: a function in a Python file of the project. A new file gets an example."
OWN_CONSOLIDATION = "Consolidate with a class of your own, in the same way."
CHANGE = "Change a key of the copied row: losses.distill.weight=2.0. Several values, 0.5,1,2, add a row for each."


def methods(as_json: AsJson = False, params: Params = PARAMS) -> None:
    """List the methods: those of params.yaml, and those that `gift add-method` adds from the catalogue.

    Example: gift methods
    """
    from gift_core.config.loading import load_config
    from gift_core.config.params_edit import known_methods

    config = load_config(params)
    abouts = {name: method.about for name, method in known_methods(config, params).items()}
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*abouts, *config.methods]):
        about, runs = abouts.get(name, "Your own: only params.yaml has it."), name in config.run.methods
        rows.append({"method": name, "about": about, "runs": runs, "in_params": name in config.methods})
    if as_json:
        print_json(rows)
        return
    print_names({f"{row['method']}{' *' if row['runs'] else ''}": row["about"] for row in rows})
    hint("\n* runs (run.methods of params.yaml). `gift add-method NAME` adds another one.")


def add_method(
    name: str = argument("NAME", "A method of `gift methods`, or a new name: lower-case letters, digits and _."),
    base: str | None = option(
        "METHOD", "Copy the row of this method, which `gift methods` lists (with --set, gift is the default).", "--from"
    ),
    settings: list[str] | None = option("KEY=VALUE", CHANGE, "--set"),
    loss: str | None = option("FILE:NAME", OWN_LOSS),
    consolidation: str | None = option("FILE:NAME", OWN_CONSOLIDATION),
    dry_run: DryRun = False,
    as_json: AsJson = False,
    params: Params = PARAMS,
) -> None:
    """Add a method to the experiment: one that `gift methods` lists, or a copy of it with some changes.

    A row is added to methods of params.yaml, and its name to run.methods. If the
    row is there already, only run.methods gets its name. With --from or --set, the
    row is a copy. The whole file is checked first. It keeps its comments and order.

    Several values without spaces, --set losses.distill.weight=0.5,1,2, add a row for
    each: strength becomes strength_0_5, strength_1 and strength_2.

    To drop a loss of the copied row: --set losses.distill=null. For a loss of your
    own: --loss my_losses.py:relations --set losses.relations.weight=20.

    Example: gift add-method strength --from gift --set losses.distill.weight=0.5,1,2
    """
    from gift_core.config.own_code import example_of, require_own_code, setting_of
    from gift_core.config.params_edit import plan_methods, rows_of_values

    codes, new = _own_code(loss, consolidation, params.parent)
    changes = [setting_of(code, is_example=code.file in new) for code in codes] + (settings or [])
    rows = rows_of_values(name, changes)
    addition, copied = plan_methods(rows, base=base, params=params)
    if not new:
        require_own_code(addition.config, params.parent)
    for file, parts in new.items() if not dry_run else ():
        with write_atomically(params.parent / file) as temporary:
            temporary.write_text(example_of(parts), encoding="utf-8")
    origin = f"a copy of {copied}" if copied else "its row is in methods already"
    if copied == name:
        origin = f"a row of the catalogue{' with changes' if settings else ''}"
    added = {row: addition.config.methods[row].model_dump(mode="json", exclude_unset=True) for row in rows}
    then = next_step(addition.config)
    if new:
        then = f"Next: write your own code into {', '.join(new)}, then gift doctor, then dvc repro"
    undo = f"gift remove-method {' '.join(rows)}" if copied else f"remove {name} from run.methods"
    carry_out(
        addition,
        {"methods": list(rows), "copy_of": copied, "rows": added},
        shown=[f"{', '.join(rows)}: {origin}", *(f"{file}: new, an example to change" for file in new)],
        hints=[f"params.yaml has what is new. {then}", f"To take it back: {undo}"],
        write=not dry_run,
        as_json=as_json,
    )


def _own_code(
    loss: str | None, consolidation: str | None, folder: Path
) -> tuple[list[OwnCode], dict[str, list[OwnCode]]]:
    """Returns the code that the options name, and that of each file which does not exist yet."""
    from gift_core.config.own_code import new_code

    asked = [("--loss", loss, True), ("--consolidation", consolidation, False)]
    codes = [new_code(key, given, is_loss=is_loss) for key, given, is_loss in asked if given]
    new: dict[str, list[OwnCode]] = {}
    for code in codes:
        if not (folder / code.file).exists():
            new.setdefault(code.file, []).append(code)
    return codes, new


def remove_method(
    names: list[str] = argument("NAME", "A method of params.yaml, several, or a pattern: 'strength_*'."),
    dry_run: DryRun = False,
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Remove methods: their rows in methods of params.yaml, and their names in run.methods.

    To keep a row and only not run it, take the name out of run.methods yourself.
    Results stay where they are.

    Example: gift remove-method 'strength_*' --dry-run
    """
    from gift_core.config.params_edit import plan_method_removal

    removal, removed = plan_method_removal(names, params=params_of(params, root))
    hints = [f"{STAYS} {next_step(removal.config)}"]
    carry_out(removal, {"methods": removed}, hints=hints, write=not dry_run, as_json=as_json)
