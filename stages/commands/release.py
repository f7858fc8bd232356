"""release METHOD --choose: tests a few alphas of a method's slot `release`, and proposes one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.errors import UserError
from gift_core.layout import Layout

from ..command_line import AsJson, carry_out, hint, next_step, note, print_json, print_table
from ..stage import PARAMS, ROOT, Method, Params, Root, Stage, explained, flag, option, params_of

if TYPE_CHECKING:
    from gift_core.report.searches import AlphaSearch

ALPHAS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


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
    the learned tasks and on the probes. It proposes the smallest alpha at which the
    learned tasks lose no more than the noise. A data set without a validation split
    is tested on 500 of its training images. The model was trained on these, which
    favors alpha 1: on new images a smaller alpha loses less than the table says.
    Another alpha trains nothing: only evaluate and report run.

    Example: gift release gift --choose
    """
    from gift_core.config.editing import set_release
    from gift_core.config.loading import load_config, parse_config, read_settings
    from gift_core.config.params_edit import ParamsEdit

    params = params_of(params, root)
    stage = Stage("release", load_config(params), Layout(root), method)
    row = stage.row
    if row.learns == "nothing" or row.keeps_every_model:
        what = "it learns nothing" if row.learns == "nothing" else "each task has a model of its own"
        raise UserError(f"params.yaml: methods.{method}: {what}, so there is no alpha to choose. Name another method.")
    if not (choose or write):
        alpha = row.release.alpha if row.release else None
        if as_json:
            print_json({"method": method, "alpha": alpha})
        else:
            typer.echo(f"release of {method}: {'as it was trained' if alpha is None else f'alpha {alpha:g}'}")
        note(f"To choose: gift release {method} --choose")
        return
    with explained(stage):
        found, unseen = _search(stage, alphas)
    before, alpha = read_settings(params), found.proposed.alpha
    after = set_release(before, method, alpha)
    edit = ParamsEdit(params, before, after, parse_config(after, params.name))
    if not as_json:
        _show_alphas(stage, found, unseen)
    record = {"method": method, **_record(found, unseen), "proposed": alpha}
    hints = [f"params.yaml has the release. Only evaluate and report run. {next_step(edit.config)}"]
    later = f"To write it: gift release {method} --choose --write. Then only evaluate and report run."
    if before == after:
        hints = [later := f"params.yaml has this alpha, {alpha:g}."]
    carry_out(edit, record, hints=hints, write=write, as_json=as_json, unwritten=later)


def _search(stage: Stage, alphas: list[float]) -> tuple[AlphaSearch, dict[str, bool]]:
    from gift_core.clip.device import resolve_device
    from gift_core.report.searches import search_alphas, write_validation_parts
    from gift_core.work.folder import work_folder

    from ..evaluate import encoding_settings

    layout, config = stage.layout, stage.config
    work = work_folder(layout.work("release", stage.method), {})
    with work as folder, tempfile.TemporaryDirectory(dir=folder, prefix=".") as parts:
        unseen = write_validation_parts(layout, config, Path(parts))
        found = search_alphas(
            alphas,
            trained=layout.model(stage.method, config.sequence[-1].task),
            pretrained=layout.pretrained(),
            learned=[Path(parts) / task for task in unseen],
            probes=[layout.task(name) for name in config.evaluation.probes],
            settings=encoding_settings(config, resolve_device(config.run.device)),
        )
    return found, unseen


def _show_alphas(stage: Stage, found: AlphaSearch, unseen: Mapping[str, bool]) -> None:
    """Prints a row for each alpha, the proposed one marked, and what the numbers mean."""
    rows = []
    for each in found.releases:
        (change, error), mark = found.change(each), "* " if each is found.proposed else ""
        difference = f"{change:+.1f} (noise {error:.1f})" if each is not found.releases[-1] else ""
        kept = "-" if each.kept is None else f"{each.kept:.1f}"
        rows.append((f"{mark}{each.alpha:g}", f"{each.learned:.1f}", difference, kept))
    title = f"{stage.method} after {stage.config.sequence[-1].task}, mean accuracy in percent"
    columns = ("alpha", "learned tasks", "difference to 1", "probes")
    print_table(columns, rows, title=title, bold=[found.releases.index(found.proposed)])
    seen = [task for task, is_unseen in unseen.items() if not is_unseen]
    if seen:
        typer.echo(
            f"The images of {', '.join(seen)} are training images, which favors alpha 1: on new images a smaller alpha "
            "loses less than this. A validation split (val/) of the data set is used where there is one."
        )
    if not found.releases[-1].probes:
        typer.echo("Without evaluation.probes nothing shows what a smaller alpha gives back: gift add-task ... --probe")
    hint("noise: one standard error of the difference, paired by image. Probes do not count for the proposal (*).")


def _record(found: AlphaSearch, unseen: Mapping[str, bool]) -> dict[str, Any]:
    rows = [
        {
            "alpha": each.alpha,
            "learned_percent": round(each.learned, 4),
            "difference_points": round(found.change(each)[0], 4),
            "standard_error": round(found.change(each)[1], 4),
            "by_task": {task: round(100 * float(right.mean()), 4) for task, right in each.right.items()},
            "probes": {name: round(100 * top1, 4) for name, top1 in each.probes.items()},
        }
        for each in found.releases
    ]
    images = {task: "validation" if is_unseen else "training" for task, is_unseen in unseen.items()}
    return {"images": images, "alphas": rows}
