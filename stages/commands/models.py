"""merge, export, release: one model of several, a model in another format, and the model that a method hands out."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import first_names

from ..command_line import (
    AsJson,
    carry_out,
    hint,
    next_step,
    note,
    plain_path,
    print_files,
    print_json,
    print_table,
    require_new,
)
from ..options import PARAMS, ROOT, Method, Params, Root, argument, flag, option, params_of
from ..stage import Stage, explained

if TYPE_CHECKING:
    from gift_core.driving.searches import AlphaSearch, Difference


Kind = Literal["interpolate", "mean", "task_arithmetic", "ties", "magmax"]
TRAINED_FROM = "task_arithmetic, ties, magmax: the model from which the others were trained."


def merge(
    models: list[str] = argument(
        "MODEL", "Two models or more of one architecture: folders or files.", callback=plain_path
    ),
    out: Path = option("FOLDER", "The folder to write.", default=...),
    kind: Kind = option("KIND", f"How to merge: {', '.join(get_args(Kind))}.", default="interpolate"),
    alpha: float | None = option(
        "SHARE", "interpolate: the share of the second model. 0 gives the first.", min=0, max=1
    ),
    base: str | None = option("MODEL", TRAINED_FROM, callback=plain_path),
    weight: list[float] | None = option("NUMBER...", "task_arithmetic: by what to multiply the changes of each model."),
    scale: float | None = option("NUMBER", "ties, magmax: by what to multiply the merged change (1)."),
    keep: float | None = option("SHARE", "ties: the share of a model's changes that is kept (0.2).", min=0, max=1),
    as_json: AsJson = False,
) -> None:
    """Merge models of one architecture into one: interpolate two, or average or add up any number.

    interpolate takes alpha of the second model and the rest of the first (WiSE-FT).
    docs/use_your_model.md describes the kinds. `gift test` tests the result.

    Example: gift merge data/5_models/pretrained data/6_released/gift/digits --alpha 0.8 --out exports/merged
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.interop.merge_kinds import complete_options

    named = [*models, *([base] if base else [])]
    for name in named:
        require_model_path(name)
    given = {"alpha": alpha, "base": base, "weight": weight or None, "scale": scale, "keep": keep}
    options = complete_options(kind, given, models=len(models))
    require_new(out, *named)
    from gift_core.interop.merging import merge_models, open_stored

    stored, start = [open_stored(name) for name in models], open_stored(base) if base else None
    noted = merge_models(kind, stored, out, options=options, base=start)
    if as_json:
        print_json({"model": out, **noted})
    else:
        typer.echo(f"{out}: {kind} of {', '.join(model.identity['name'] for model in stored)}")


Format = Literal["transformers", "onnx", "safetensors"]
Model = Annotated[
    str,
    argument(
        "MODEL",
        "A model folder (data/6_released/gift/<task>), a file of `gift export --to safetensors`, "
        "hf-hub:<repository>, or an architecture of open_clip with --pretrained.",
        callback=plain_path,
    ),
]
Pretrained = Annotated[
    str | None, option("TAG", "The weights of the architecture: a tag of open_clip, or a file.", default=...)
]


def export(
    model: Model,
    to: Format = option("FORMAT", "The format: transformers, onnx or safetensors.", default=...),
    out: Path | None = option("FOLDER", "The folder to write (default: exports/<model>-<format>)."),
    pretrained: Pretrained = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for transformers (CLIPModel, CLIPProcessor), for ONNX, or as one safetensors file.

    Example: gift export data/6_released/gift/digits --to transformers
    """
    from gift_core.artifacts.model_folder import require_model_path

    missing = [name for name in ("onnx", "onnxscript") if to == "onnx" and find_spec(name) is None]
    if missing:
        remedy = "make setup EXTRAS=onnx, or pip install 'gift-pipeline[onnx]'"
        raise UserError(f"export --to onnx: it needs {' and '.join(missing)}. Install the extra: {remedy}.")
    require_model_path(model)
    name = "-".join([*Path(model).parts[-2:], to])
    folder = out or Path("exports") / re.sub(r"[^\w.-]+", "-", name).strip("-")
    require_new(folder, model)
    from gift_core.interop.exporting import export_clip
    from gift_core.interop.importing import model_identity, open_model

    clip = open_model(model, pretrained, device="cpu")
    files = export_clip(clip, folder, to=to, provenance={"format": to, "model": model_identity(model, pretrained)})
    if as_json:
        print_json({"format": to, "files": [{"path": path, "bytes": path.stat().st_size} for path in files]})
    else:
        print_files(files)


FEW_PROBED = 20  # images, of which one is 5 points
ALPHAS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def release(
    method: Method,
    choose: bool = flag("--choose", "Test the alphas and propose one."),
    alphas: list[float] = option("ALPHA...", "The alphas to test, besides 1.", min=0, max=1, default=ALPHAS),
    write: bool = flag("--write", "With --choose: write the proposed release to params.yaml."),
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Show how a method's models are released, or choose alpha: pre-trained weights + alpha * what was learned.

    --choose tests the method's last model at a few alphas, on validation images of
    the learned tasks and of the probes, and draws learned against kept. It proposes
    the alpha with the highest sum of both, and says what its neighbors gain and
    lose. Without probes, that is the smallest alpha at which the learned tasks lose
    no more than the noise. A data set without a validation split is tested on 500 of
    its training images. The model was trained on those of learned tasks, which
    favors alpha 1: on new images a smaller alpha loses less than the table says.
    Another alpha trains nothing: only evaluate and report run.

    Example: gift release gift --choose
    """
    from gift_core.config.checks import require_task
    from gift_core.config.editing import set_release
    from gift_core.config.loading import load_config, parse_config, read_settings
    from gift_core.config.params_edit import ParamsEdit

    params = params_of(params, root)
    stage = Stage("release", load_config(params), Layout(root), method)
    row = stage.row
    if row.learns == "nothing" or row.keeps_every_model:
        reason = "it learns nothing" if row.learns == "nothing" else "each task has a model of its own"
        raise UserError(
            f"params.yaml: methods.{method}: {reason}, so there is no alpha to choose. Name another method."
        )
    if not (choose or write):
        alpha = row.release.alpha if row.release else None
        if as_json:
            print_json({"method": method, "alpha": alpha})
        else:
            typer.echo(f"release of {method}: {'as it was trained' if alpha is None else f'alpha {alpha:g}'}")
        note(f"To choose: gift release {method} --choose")
        return
    require_task(stage.config, params.name)
    search = _search_alphas(stage, alphas)
    before, alpha = read_settings(params), search.proposed.alpha
    after = set_release(before, method, alpha)
    edit = ParamsEdit(params, before, after, parse_config(after, params.name))
    figure = _draw_alphas(stage, search)
    if not as_json:
        _show_alphas(stage, search)
    shown = [] if figure is None else [f"The curve: {figure}"]
    record = {"method": method, **_alphas_record(search), "proposed": alpha}
    hints = [f"params.yaml has the release. Only evaluate and report run. {next_step(edit.config)}"]
    later = f"To write it: gift release {method} --choose --write. Then only evaluate and report run."
    if before == after:
        later = f"params.yaml has this alpha, {alpha:g}."
        hints = [later]
    carry_out(edit, record, shown=shown, hints=hints, write=write, as_json=as_json, unwritten=later)


def store_alpha_curves(roots: Sequence[Path], methods: Sequence[str] | None) -> None:
    """Tests over alpha the methods of finished runs, or these, whose tests are not stored (Layout.alpha_curve)."""
    from gift_core.config.loading import load_config
    from gift_core.report.comparison.alpha_curves import has_curve, stored_points
    from gift_core.use.alpha_tests import store_alpha_curve
    from gift_core.work.folder import work_folder

    from ..evaluate import encoding_settings

    for root in roots:
        layout, config = Layout(root), load_config(root / PARAMS)
        if not config.evaluation.probes:
            raise UserError(f"{root / PARAMS}: evaluation.probes is empty: add one with gift add-task NAME --probe.")
        settings = encoding_settings(config)
        for method in methods or config.run.methods:
            if not has_curve(config, method) or stored_points(layout, config, method) is not None:
                continue
            with (
                explained(Stage("release", config, layout, method)),
                work_folder(layout.work("alphas", method), {}) as work,
            ):
                note(f"{method} over alpha, in {root.resolve()}")
                store_alpha_curve(layout, config, method, folder=work, settings=settings)


def _search_alphas(stage: Stage, alphas: list[float]) -> AlphaSearch:
    from gift_core.driving.searches import search_alphas
    from gift_core.work.folder import work_folder

    from ..evaluate import encoding_settings

    layout, config = stage.layout, stage.config
    work = work_folder(layout.work("release", stage.method), {})
    with explained(stage), work as folder, tempfile.TemporaryDirectory(dir=folder, prefix=".") as parts:
        settings = encoding_settings(config)
        return search_alphas(layout, config, stage.method, alphas, folder=Path(parts), settings=settings)


def _draw_alphas(stage: Stage, search: AlphaSearch) -> Path | None:
    """Draws learned against kept to exports/. None without probes."""
    import numpy as np

    from gift_core.report.comparison.alpha_curves import AlphaCurve
    from gift_core.report.comparison.figures import COLORS, draw_over_alpha
    from gift_core.work.publishing import write_atomically

    if not search.proposed.probes:
        return None
    rows = [(release.alpha, release.kept, release.learned) for release in search.releases]
    alphas, kept, learned = np.array(rows, dtype=float).T
    curve = AlphaCurve(alphas, kept, learned, search.proposed.alpha)
    look = {"color": COLORS["m1"], "marker": "o", "label": f"{stage.method}, star: proposed"}
    svg = draw_over_alpha({stage.method: curve}, {stage.method: look}, y_title="Learned tasks (%)")
    path = stage.layout.root / "exports" / f"over_alpha_{stage.method}.svg"
    with write_atomically(path) as file:
        file.write_bytes(svg)
    return path


def _show_alphas(stage: Stage, search: AlphaSearch) -> None:
    """Prints a row for each alpha, the proposed one marked, and what the numbers mean."""
    trained = search.releases[-1]
    rows = []
    for release in search.releases:
        mark = "* " if release is search.proposed else ""
        learned = f"{release.learned:.1f}"
        learned_change = _with_noise(search.learned_change(release))
        kept = "-" if release.kept is None else f"{release.kept:.1f}"
        kept_change = "" if release.kept is None else _with_noise(search.kept_change(release))
        if release is trained:
            learned_change = kept_change = ""
        rows.append((f"{mark}{release.alpha:g}", learned, learned_change, kept, kept_change))
    title = f"{stage.method} after {stage.config.sequence[-1].task}, mean accuracy in percent"
    columns = ("alpha", "learned tasks", "difference to 1", "probes", "difference to 1")
    print_table(columns, rows, title=title, bold=[search.releases.index(search.proposed)])
    tested = [f"{name} {len(right):,}" for name, right in {**trained.tasks, **trained.probes}.items()]
    typer.echo(f"Images tested: {', '.join(tested)}.")
    seen = [task for task, is_unseen in search.unseen.items() if not is_unseen]
    if seen:
        typer.echo(
            f"The images of {', '.join(seen)} are training images, which favors alpha 1: on new images a smaller alpha "
            "loses less than this. A validation split (val/) of the data set is used where there is one."
        )
    few = [name for name, right in trained.probes.items() if len(right) < FEW_PROBED]
    if few:
        typer.echo(
            f"{first_names(few)}: too few images to choose alpha by. These are the probe's training images, or its own "
            "validation split: the test images are for the report. A lower test_fraction gives more."
        )
    if not trained.probes:
        typer.echo("Without evaluation.probes nothing shows what a smaller alpha gives back: gift add-task ... --probe")
    chosen = search.proposed
    for alpha, gained, given_back in search.steps(chosen) if chosen.probes else ():
        typer.echo(f"From {chosen.alpha:g} to {alpha:g}: {gained:+.1f} on learned tasks, {given_back:+.1f} on probes.")
    rule = "the highest sum of both columns" if chosen.probes else "no more than the noise is lost on learned tasks"
    hint(f"noise: one standard error of the difference, paired by image. Proposal (*): {rule}.")


def _with_noise(change: Difference) -> str:
    return f"{change.points:+.1f} (noise {change.error:.1f})"


def _alphas_record(search: AlphaSearch) -> dict[str, Any]:
    rows = [
        {
            "alpha": release.alpha,
            "learned_percent": round(release.learned, 4),
            "difference_points": round(search.learned_change(release).points, 4),
            "standard_error": round(search.learned_change(release).error, 4),
            "by_task": {task: round(100 * float(right.mean()), 4) for task, right in release.tasks.items()},
            "probes": {name: round(100 * float(right.mean()), 4) for name, right in release.probes.items()},
            "probes_standard_error": round(search.kept_change(release).error, 4),
        }
        for release in search.releases
    ]
    images = {task: "validation" if is_unseen else "training" for task, is_unseen in search.unseen.items()}
    return {"images": images, "alphas": rows}
