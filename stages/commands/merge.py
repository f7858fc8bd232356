"""merge MODEL MODEL...: one model of several, by averaging their weights or adding up what they learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gift_core.layout import Layout

from ..command_line import AsJson, plain_path, print_json, require_new
from ..completion import complete_from
from ..stage import MOST, ROOT, Root, argument, option

KINDS = ("interpolate", "mean", "task_arithmetic", "ties", "magmax", "dare", "fisher")  # for the Tab key
Models = Annotated[
    list[str], argument("MODEL", "Two models or more of one architecture: folders or files.", callback=plain_path)
]
Kind = Annotated[str, option("KIND", f"How to merge: {', '.join(KINDS)}.", autocompletion=complete_from(KINDS))]
Out = Annotated[Path, option("FOLDER", "The folder to write.")]
Alpha = Annotated[
    float | None, option("SHARE", "interpolate: the share of the second model. 0 gives the first.", min=0, max=1)
]
Base = Annotated[
    str | None,
    option(
        "MODEL",
        "task_arithmetic, ties, magmax, dare: the model from which the others were trained.",
        callback=plain_path,
    ),
]
Weight = Annotated[
    list[float] | None, option("NUMBER...", "task_arithmetic, dare: by what to multiply the changes of each model.")
]
Scale = Annotated[float | None, option("NUMBER", "ties, magmax: by what to multiply the merged change (1).")]
Keep = Annotated[float | None, option("SHARE", "ties: the share of a model's changes that is kept (0.2).")]
Drop = Annotated[float | None, option("SHARE", "dare: the probability that a change is dropped (0.9).")]
Seed = Annotated[int | None, option("N", "dare: the seed of what is dropped (0).", max=MOST)]
Fisher = Annotated[
    list[str] | None,
    option("FILE", "fisher: a fisher.safetensors for each model. Default: those in data/4_teachers of them."),
]


def merge(
    models: Models,
    out: Out,
    kind: Kind = "interpolate",
    alpha: Alpha = None,
    base: Base = None,
    weight: Weight = None,
    scale: Scale = None,
    keep: Keep = None,
    drop: Drop = None,
    seed: Seed = None,
    fisher: Fisher = None,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Merge models of one architecture into one: interpolate two, or average or add up any number.

    interpolate takes alpha of the second model and the rest of the first (WiSE-FT).
    docs/models.md describes the kinds. `gift test` tests the result.

    Example: gift merge data/5_models/pretrained data/6_released/gift/digits --alpha 0.8 --out merged
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.interop.merge_kinds import complete_options

    named: list[str] = [*models, *([base] if base else [])]
    for name in named:
        require_model_path(name)
    given = {"alpha": alpha, "base": base, "weight": weight or None, "scale": scale, "keep": keep, "drop": drop}
    options = complete_options(kind, given | {"seed": seed, "fisher": fisher or None}, models=len(models))
    require_new(out, *named)
    from gift_core.interop.merging import Merge, find_fishers, merge_models, open_stored

    stored, start = [open_stored(name) for name in models], open_stored(base) if base else None
    fishers = find_fishers(stored, options["fisher"], Layout(root)) if kind == "fisher" else []
    merging = Merge(kind, stored, options, start, fishers)
    merge_models(merging, out)
    if as_json:
        print_json({"model": out, **merging.provenance["merge"]})
    else:
        typer.echo(f"{out}: {kind} of {', '.join(model.identity['name'] for model in stored)}")
