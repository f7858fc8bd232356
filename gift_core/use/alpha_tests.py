"""Tests a method's last model at several alphas on the test images of a run, under its protocol.

This is for the curve of a comparison, and chooses nothing: `gift release --choose` has images of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from gift_core.artifacts.accuracy import PRETRAINED_STEP
from gift_core.artifacts.contract import write_json
from gift_core.computation import run_serially
from gift_core.config.experiment import Config
from gift_core.config.method_options import InterpolateConfig
from gift_core.layout import Layout
from gift_core.method.classifier import EncodingSettings, classify_all, classify_among_all
from gift_core.progress import progress
from gift_core.report.comparison.alpha_curves import ALPHAS, StoredCurve, own_alpha, tested_with
from gift_core.use.release import release_model
from gift_core.work.publishing import write_atomically


def store_alpha_curve(layout: Layout, config: Config, method: str, *, folder: Path, settings: EncodingSettings) -> None:
    """Tests the alphas that the run has not, and writes the file of Layout.alpha_curve. Models are made in `folder`.

    ContractError if a model or a task is missing or damaged.
    """
    trained, points = layout.model(method, config.sequence[-1].task), []
    alphas = [alpha for alpha in ALPHAS if alpha != own_alpha(config, method)]
    for alpha in progress(alphas, len(alphas), f"alphas of {method}"):
        model = folder / f"{method}-{alpha:g}"
        release = InterpolateConfig(kind="interpolate", alpha=alpha)
        release_model(trained, layout.pretrained(), model, release)
        points.append((alpha, *_learned_and_kept(model, layout, config, settings)))
    stored = StoredCurve(tested=tested_with(layout, config, method), points=points)
    with write_atomically(layout.alpha_curve(method)) as file:
        write_json(file, stored.model_dump(mode="json"))


def _learned_and_kept(model: Path, layout: Layout, config: Config, settings: EncodingSettings) -> tuple[float, float]:
    """Last and zero-shot kept of a model, in percent."""
    learned = [layout.task(step.task) for step in config.sequence]
    probes = [layout.task(name) for name in config.evaluation.probes]
    if config.evaluation.protocol.own_classes:
        tests = _in_own_classes(model, learned, settings)
    else:
        models = {PRETRAINED_STEP: model}
        outcomes = classify_among_all(models=models, tasks=learned, settings=settings, run=run_serially)
        tests = [(outcome.top1, outcome.count) for outcome in outcomes.values()]
    last = fmean(top1 for top1, _ in tests)
    if not config.evaluation.protocol.has_matrix:  # over all images together
        last = sum(top1 * count for top1, count in tests) / sum(count for _, count in tests)
    kept = fmean(top1 for top1, _ in _in_own_classes(model, probes, settings))
    return 100 * last, 100 * kept


def _in_own_classes(model: Path, tasks: Sequence[Path], settings: EncodingSettings) -> list[tuple[float, int]]:
    """Accuracy and number of images of each task. The model is the only one, which has the number -1."""
    pairs = [(PRETRAINED_STEP, task) for task in range(len(tasks))]
    outcomes = classify_all(pairs, models={PRETRAINED_STEP: model}, tasks=tasks, settings=settings, run=run_serially)
    return [(outcome.top1, outcome.count) for outcome in outcomes.values()]
