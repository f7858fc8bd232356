"""init DIR, presets, use PRESET, docs [PAGE]: a project, its experiment, the guides."""

from __future__ import annotations

import pydoc
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gift_core.errors import lookup
from gift_core.layout import guides, shipped_root
from gift_core.quantities import plural

from ..command_line import AsJson, DryRun, carry_out, hint, print_json, print_names
from ..options import ROOT, Root, argument, flag, option

if TYPE_CHECKING:
    from gift_core.config.presets import Summary

FEW_METHODS = 4
EXAMPLE = "gift add-task garments --images ~/photos/garments --link"


def init(
    folder: Path = argument("DIR", "A new folder, or one without a project."),
    preset: str = option("NAME", "The experiment that params.yaml gets.", default="mini_quick"),
    empty: bool = flag("--empty", "Without the tasks and probes of the preset: for your own images alone."),
) -> None:
    """Make a project: dvc.yaml, params.yaml, presets, the miniature models, git and DVC.

    Nothing in the folder is overwritten. An existing git repository is kept.

    Example: gift init my-project
    """
    from gift_core.config.presets import needs_of
    from gift_core.new_project.create import create_project

    kept, config = create_project(folder, preset, empty=empty)
    for name in kept:
        typer.echo(f"{folder / name} is yours and stays as it is")
    without = ", without its tasks" if empty else ""
    typer.echo(f"{folder} is now a project with the preset {preset}{without}. Next:")
    if folder.resolve() != Path.cwd():
        typer.echo(f"  cd {shlex.quote(str(folder))}")
    if not all(map(shutil.which, ("gift", "dvc"))):
        typer.echo(f'  export PATH="{Path(sys.executable).parent}:$PATH"   # where gift and dvc are')
    needs = needs_of(config)
    if not config.sequence:
        typer.echo(f"  {EXAMPLE}    # your own: garments/<class>/*")
        needs = tuple(need for need in needs if need != "data")
    if needs:
        typer.echo(f"  gift doctor    # the preset needs more ({', '.join(needs)}); this says what to do")
    typer.echo("  dvc repro && gift show")
    typer.echo("  git add --all && git commit --message 'A new project'")
    typer.echo("Its README.md says what is where. `gift presets` lists other experiments.")


def presets(as_json: AsJson = False, root: Root = ROOT) -> None:
    """List the presets with their tasks, iterations, methods and needs, and mark the active one.

    If params.yaml differs from the preset that it was made from, the number of
    changed lines is shown.

    Example: gift presets
    """
    from gift_core.config.presets import find_presets, origin_of, summarize

    files = find_presets(root)
    origin = origin_of(root / "params.yaml", files)
    summaries = [summarize(file) for file in files.values()]
    active, changed = origin or (None, 0)
    if as_json:
        shown = ((summary, summary.name == active) for summary in summaries)
        print_json([{**asdict(summary), "active": is_it, "changed_lines": changed * is_it} for summary, is_it in shown])
        return
    mark = f" *, {plural(changed, 'line')} changed" if changed else " *"
    heads = [f"{summary.name}{mark if summary.name == active else ''}" for summary in summaries]
    abouts = [f"{size_of(summary)}\n    {summary.title}" for summary in summaries]
    print_names(dict(zip(heads, abouts, strict=True)))
    about = "* is the active experiment (params.yaml)." if active else "params.yaml is an experiment of your own."
    about = about if origin else "params.yaml is missing, or it cannot be read."
    hint(f"\n{about} `gift use NAME` switches to another one.")


def size_of(summary: Summary) -> str:
    """Returns the tasks, iterations, methods and needs in one line."""
    few = len(summary.methods) <= FEW_METHODS
    methods = ", ".join(summary.methods) if few else f"{len(summary.methods)} methods"
    tasks = f"{plural(summary.tasks, 'task')} x" if summary.tasks else "no task yet,"
    return f"{tasks} {summary.iterations} iterations; {methods}; needs {', '.join(summary.needs) or 'nothing else'}"


def use(
    preset: str = argument("PRESET", "A name that `gift presets` lists."),
    dry_run: DryRun = False,
    diff: bool = flag("--diff", "Print all changes, line by line."),
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Make a preset the active experiment: write it to params.yaml.

    A params.yaml that you changed is kept as params.backup-1.yaml (or the next
    free number).

    Example: gift use mtil_order_1 --dry-run --diff
    """
    from gift_core.config.checks import ADD_TASK
    from gift_core.config.presets import plan_switch, summarize

    switch = plan_switch(root, preset)
    summary = summarize(switch.preset)
    checks = ["gift doctor", "gift data status"] if summary.needs else []
    commands = [*([] if summary.tasks else [ADD_TASK]), *checks, "dvc repro"]
    write, now = switch.before != switch.after and not dry_run, "would be" if dry_run else "is now"
    record = {"preset": summary.name, "backup": switch.backup, "next": commands}
    shown, unwritten = [f"params.yaml is already the preset {preset}"], "nothing was written"
    if switch.before != switch.after:
        shown = [f"params.yaml {now} the preset {summary.name}: {summary.title}", f"  {size_of(summary)}"]
        shown.append("  How long it takes here: gift rehearse")
        unwritten = f"--dry-run: {unwritten}"
    if switch.backup is not None:
        shown.append(f"Your changed params.yaml {now.removesuffix(' now')} kept as {switch.backup}")
    if diff:
        record["difference"] = switch.difference()
    hints = [f"Next: {', then '.join(commands)}"]
    if switch.backup is not None:
        hints.append(f"To go back: cp {switch.backup} params.yaml")
    carry_out(switch, record, shown=shown, hints=hints, write=write, as_json=as_json, difference=diff,
              unwritten=unwritten)  # fmt: skip


def docs(page: str | None = argument("PAGE", "A guide, such as memory.", default=None)) -> None:
    """List the guides, or show one of them.

    Example: gift docs your_own_task
    """
    if page is None:
        titles = {}
        for name, file in guides().items():
            title = next(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
            titles[name] = title.strip("# ")
        print_names(titles)
        return
    text = lookup(guides(), Path(page).stem, "gift docs").read_text(encoding="utf-8")
    examples = shlex.quote(str(shipped_root() / "examples"))  # a wheel has them inside the package
    pydoc.pager(text.replace("python examples/", f"python {examples}/"))
