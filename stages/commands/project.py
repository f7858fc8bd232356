"""init DIR, dag, docs [PAGE]: a project without a clone of the code, its pipeline as a graph, and the guides."""

from __future__ import annotations

import pydoc
import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from gift_core.errors import lookup
from gift_core.shipped import guides

from ..command_line import AsJson, print_json
from ..stage import ROOT, Root, argument, flag, option

Folder = Annotated[Path, argument("DIR", "A new folder, or one without a project.")]
Preset = Annotated[str, option("NAME", "The experiment that params.yaml gets.")]


def init(folder: Folder, preset: Preset = "mini_quick") -> None:
    """Make a project: dvc.yaml, params.yaml, presets, the miniature models, git and DVC.

    Nothing in the folder is overwritten. An existing git repository is kept.

    Example: gift init my-project
    """
    from gift_core.config.checks import ADD_TASK
    from gift_core.new_project.create import plan_project

    project = plan_project(folder, preset)
    project.create()
    for name in project.kept:
        typer.echo(f"{folder / name} is yours and stays as it is")
    typer.echo(f"{folder} is now a project with the preset {preset}. Next:")
    if folder.resolve() != Path.cwd():
        typer.echo(f"  cd {shlex.quote(str(folder))}")
    if not all(map(shutil.which, ("gift", "dvc"))):
        typer.echo(f'  export PATH="{Path(sys.executable).parent}:$PATH"   # where gift and dvc are')
    if project.needs:
        needs = ", ".join(project.needs)
        typer.echo(f"  gift doctor    # the preset needs more ({needs}); this says what to do")
    if not project.has_task:
        typer.echo(f"  {ADD_TASK}    # your own images")
    typer.echo("  dvc repro && gift show")
    typer.echo("  git add --all && git commit --message 'A new project'")
    typer.echo("Its README.md says what is where. `gift presets` lists other experiments.")


Page = Annotated[str | None, argument("PAGE", "A guide, such as memory.")]


def docs(page: Page = None) -> None:
    """List the guides, or show one of them.

    Example: gift docs your_own_task
    """
    if page is None:
        for name, file in guides().items():
            title = next(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
            typer.echo(f"{name:16} {title.strip('# ')}")
        return
    text = lookup(guides(), Path(page).stem, "gift docs").read_text(encoding="utf-8")
    if sys.stdout.isatty():
        pydoc.pager(text)
    else:
        typer.echo(text)


def dag(
    mermaid: Annotated[bool, flag("--mermaid", "Print it for GitHub's or GitLab's pages.")] = False,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Draw which stage type reads what another one writes, with the number of stages of each.

    `dvc dag` draws every single stage.

    Example: gift dag --mermaid
    """
    from ..dvc.store import dvc_errors

    with dvc_errors():
        import networkx
        from dvc.repo import Repo

        graph: Any = Repo(str(root)).index.graph
    block = {stage: stage.name.partition("@")[0] for stage in graph if hasattr(stage, "name")}  # not of .dvc files
    counts = Counter(block.values())
    order = list(counts)  # of dvc.yaml
    pairs = {(block[read], block[reader]) for reader, read in graph.edges if read in block and reader in block}
    forward = networkx.DiGraph(pair for pair in pairs if order.index(pair[0]) < order.index(pair[1]))
    edges = sorted(networkx.transitive_reduction(forward).edges, key=lambda edge: [*map(order.index, edge)])
    chained = [name for name in order if (name, name) in pairs]  # they read the step before
    labels = {name: f"{name} x {count}" if count > 1 else name for name, count in counts.items()}
    if mermaid:
        boxes = [f'  {name}["{label}"]' for name, label in labels.items()]
        typer.echo("\n".join(["flowchart TD", *boxes, *(f"  {above} --> {below}" for above, below in edges)]))
    elif as_json:
        print_json({"stages": counts, "edges": edges, "reads_step_before": chained})
    else:
        from dvc.dagascii import draw

        upwards = [(labels[below], labels[above]) for above, below in edges]  # DVC draws from the bottom up
        typer.echo(draw(list(labels.values()), upwards))
        typer.echo(f"Their stages also read those of the step before: {', '.join(chained)}")
