"""Writes a comparison of finished runs over their seeds: comparison.csv, comparison.json, figures and index.html."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import write_json
from gift_core.method.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.comparison.alpha_curves import has_curve, which_lies_above
from gift_core.report.comparison.figures import FOLDER, SMALLEST_TEXT, Figure, figures_of
from gift_core.report.comparison.paper_table import table_of_runs
from gift_core.report.comparison.runs_by_seed import Comparison
from gift_core.report.labels import COLUMN_TITLES, number
from gift_core.report.page import environment
from gift_core.work.publishing import build_folder

TABLE = "comparison.csv"
RECORD = "comparison.json"
PAGE = "index.html"
MOST_NAMED = 3  # of the methods that differ by more than the noise


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Writes the comparison as the folder `folder`. The same runs give the same bytes."""
    figures = list(figures_of(comparison))
    with build_folder(folder) as temporary:
        (temporary / FOLDER).mkdir()
        for figure in figures:
            (temporary / FOLDER / f"{figure.name}.svg").write_bytes(figure.svg)
        comparison.values.to_csv(temporary / TABLE, index=False, lineterminator="\n")
        write_json(temporary / RECORD, _as_json(comparison))
        (temporary / PAGE).write_bytes(render_comparison(comparison, figures).encode())


def render_comparison(comparison: Comparison, figures: Sequence[Figure]) -> str:
    """The page as HTML. The same comparison gives the same text."""
    template = environment(comparison).get_template("comparison.html.j2")
    return template.render(
        comparison=comparison,
        headline=comparison_headline(comparison),
        titles=COLUMN_TITLES,
        scales={column: scale_of(comparison, column) for column in comparison.columns},
        differences=table_of_runs(comparison).differences,
        styles=comparison.styles,
        curve_sentences=curve_sentences(comparison),
        smallest_text=SMALLEST_TEXT,
        figures=[(figure, b64encode(figure.svg).decode()) for figure in figures],
        missing=[f"{comparison.label(method)} (seed {seed})" for seed, method in comparison.missing],
    )


def comparison_headline(comparison: Comparison) -> tuple[str, str]:
    """The result of the method compared with, and which others differ from it by more than the noise."""
    name, seeds = comparison.against, comparison.seeds
    last = comparison.scores[name]["own" if name in comparison.separate_models else "last"]
    measured = f"mean accuracy after {plural(len(comparison.tasks), 'task')}"
    if not comparison.config.evaluation.protocol.has_matrix:
        measured = f"accuracy on all classes after {plural(len(comparison.tasks), 'step')}"
    deviation = f" ± {number(last.std())}" if len(last) > 1 else ""
    mean = f"Over {plural(len(seeds), 'seed')}, {comparison.label(name)} has {number(last.mean())}{deviation}%"
    result = f"{mean} {measured}{comparison.miniature.of_benchmark}."
    if len(seeds) == 1:
        return result, " One seed has no spread, so no difference can be distinguished from noise."
    others = {
        method: differences["last"].exceeds_noise
        for method, differences in table_of_runs(comparison).differences.items()
        if method not in (ZERO_SHOT, *comparison.references) and "last" in differences
    }
    if not others:
        return result, ""
    beyond = [comparison.label(method) for method, exceeds in others.items() if exceeds]
    if len(others) == 1:
        subject, verb = comparison.label(*others), "differs" if beyond else "does not differ"
    else:
        named = " and ".join(f"“{label}”" for label in beyond) if len(beyond) <= MOST_NAMED else str(len(beyond))
        subject = f"Of {plural(len(others), 'other method')}, {named or 'none'}"
        verb = "differ" if len(beyond) > 1 else "differs"
    return result, f" {subject} {verb} from it in Last by more than the noise."


def curve_sentences(comparison: Comparison) -> list[str]:
    """Whose curve over alpha lies above that of each other method, and how to get the curves that are missing."""
    against = comparison.against
    sentences = []
    if against in comparison.curves:
        base = (comparison.label(against), comparison.curves[against])
        sentences = [
            which_lies_above(*base, comparison.label(name), curve)
            for name, curve in comparison.curves.items()
            if name != against
        ]
    expected = [name for name in comparison.methods if has_curve(comparison.config, name)]
    missing = [comparison.label(name) for name in expected if name not in comparison.curves]
    if missing:
        remedy = "The same command with --over-alpha tests them."
        sentences.append(f"Learned against kept over alpha is not stored for {', '.join(missing)}. {remedy}")
    return sentences


def scale_of(comparison: Comparison, column: str) -> float:
    """The largest distance of a seed from its method's mean in this column, in points."""
    by_method = [of_method[column] for of_method in comparison.scores.values() if column in of_method]
    return max((float((scores - scores.mean()).abs().max()) for scores in by_method if len(scores)), default=0.0)


def _as_json(comparison: Comparison) -> dict[str, Any]:
    """The content of comparison.json, in percent with four decimals."""
    record = table_of_runs(comparison).record()
    groups = {name: title for title, names in comparison.groups.items() for name in names}
    methods = {name: {"group": title, **record["methods"][name]} for name, title in groups.items()}
    curves = {
        name: {"alpha": curve.alphas.tolist(), "last": curve.learned.tolist(), "kept": curve.kept.tolist()}
        for name, curve in comparison.curves.items()
    }
    return {
        "experiment": comparison.config.experiment,
        "tasks": list(comparison.tasks),
        "seeds": list(comparison.seeds),
        "missing": [{"seed": seed, "method": method} for seed, method in comparison.missing],
        "against": comparison.against,
        "methods": methods,
        "over_alpha": curves,
    }
