"""dag: the pipeline as a graph of its stage types."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import AsJson, print_json
from .stage import PARAMS, Params


def dag(
    params: Params = PARAMS,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print it for GitHub's or GitLab's pages.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw which stage type reads what another one writes, with the number of stages of each.

    `dvc dag` draws every single stage.

    Example: gift dag --mermaid
    """
    from gift_core.config.loading import load_config
    from gift_core.shipped import pipeline_root
    from gift_core.team.pipeline_graph import read_graph

    graph = read_graph(pipeline_root(params.parent), load_config(params).model_dump(mode="json"))
    if mermaid:
        typer.echo(graph.mermaid())
        return
    if as_json:
        print_json({"stages": graph.stages, "edges": graph.edges, "reads_step_before": graph.chained})
        return
    from dvc.dagascii import draw

    labels = graph.labels()
    upwards = [(labels[below], labels[above]) for above, below in graph.edges]  # DVC draws from the bottom up
    typer.echo(draw(list(labels.values()), upwards))
    typer.echo(f"Their stages also read those of the step before: {', '.join(graph.chained)}")
