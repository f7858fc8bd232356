"""merge MODEL MODEL...: one model of several, by averaging their weights or adding up what they learned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from gift_core.layout import Layout

from ..command_line import AsJson, grouped, member, plain_path, print_json, require_new
from ..completion import complete_from
from ..stage import MOST, ROOT, Root, argument, option

KINDS = ("interpolate", "mean", "task_arithmetic", "ties", "magmax", "dare", "fisher")  # for the Tab key
Models = Annotated[
    list[str], argument("MODEL", "Two models or more of one architecture: folders or files.", callback=plain_path)
]
Kind = Annotated[str, option("KIND", f"How to merge: {', '.join(KINDS)}.", autocompletion=complete_from(KINDS))]
Out = Annotated[Path, option("FOLDER", "The folder to write.")]
TRAINED_FROM = "task_arithmetic, ties, magmax, dare: the model from which the others were trained."
WEIGHT = "task_arithmetic, dare: by what to multiply the changes of each model."
FISHERS = "fisher: a fisher.safetensors for each model. Default: those in data/4_teachers of them."


@dataclass
class KindOptions:
    """The options of the kinds, None where they are not given."""

    alpha: float | None = member(
        "SHARE", "interpolate: the share of the second model. 0 gives the first.", min=0, max=1
    )
    base: str | None = member("MODEL", TRAINED_FROM, callback=plain_path)
    weight: list[float] | None = member("NUMBER...", WEIGHT)
    scale: float | None = member("NUMBER", "ties, magmax: by what to multiply the merged change (1).")
    keep: float | None = member("SHARE", "ties: the share of a model's changes that is kept (0.2).")
    drop: float | None = member("SHARE", "dare: the probability that a change is dropped (0.9).")
    seed: int | None = member("N", "dare: the seed of what is dropped (0).", max=MOST)
    fisher: list[str] | None = member("FILE", FISHERS)


@grouped
def merge(
    models: Models,
    *,
    out: Out,
    kind: Kind = "interpolate",
    of_kind: KindOptions,
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

    named = [*models, *([of_kind.base] if of_kind.base else [])]
    for name in named:
        require_model_path(name)
    given = {key: None if value == [] else value for key, value in asdict(of_kind).items()}
    options = complete_options(kind, given, models=len(models))
    require_new(out, *named)
    from gift_core.interop.merging import Merge, find_fishers, merge_models, open_stored

    stored, start = [open_stored(name) for name in models], open_stored(of_kind.base) if of_kind.base else None
    fishers = find_fishers(stored, options["fisher"], Layout(root)) if kind == "fisher" else []
    merging = Merge(kind, stored, options, start, fishers)
    merge_models(merging, out)
    if as_json:
        print_json({"model": out, **merging.provenance["merge"]})
    else:
        typer.echo(f"{out}: {kind} of {', '.join(model.identity['name'] for model in stored)}")
