"""dag: the pipeline as a graph of its stage types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import AsJson, print_json
from .stage import ROOT, Root

Edge = tuple[str, str]  # a block of dvc.yaml, and a later one that reads what it writes


def dag(
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print it for GitHub's or GitLab's pages.")] = False,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Draw which stage type reads what another one writes, with the number of stages of each.

    `dvc dag` draws every single stage.

    Example: gift dag --mermaid
    """
    counts, edges, chained = _read_graph(root)
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


def _read_graph(root: Path) -> tuple[Mapping[str, int], Sequence[Edge], Sequence[str]]:
    """Blocks with their numbers of stages, edges without shortcuts, and the blocks that read the step before."""
    from .dvc_store import dvc_errors

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
    return counts, edges, [name for name in order if (name, name) in pairs]
