"""predict MODEL IMAGES, test MODEL IMAGES: the classes of any images, and the accuracy on labeled ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gift_core.errors import printable
from gift_core.layout import Layout
from gift_core.progress import progress
from gift_core.quantities import first_names, plural

from ..command_line import PLAIN, AsJson, hint, note, print_json, print_table
from ..options import MOST, ROOT, Root, argument, flag, option
from .models import Model, Pretrained

if TYPE_CHECKING:
    from gift_core.method.metrics import Score
    from gift_core.use import class_lists
    from gift_core.use.labeled_images import TestResult
    from gift_core.use.predict import Unreadable

Classes = Annotated[
    str | None,
    option(
        "CLASSES",
        "A text file with one class name per line, a task.json, or an ingested task. Default: all classes that the "
        "model has learned. In `gift test`: the classes of IMAGES.",
        default=...,
    ),
]
Templates = Annotated[
    Path | None, option("FILE", "A text file with one template per line ({} for the class name).", default=...)
]
Device = Annotated[str, option("DEVICE", "The device: auto, cpu, mps, cuda or cuda:<number>.", default=...)]
SHOWN_CLASSES, SHOWN_CONFUSIONS = 20, 10


def predict(
    model: Model,
    images: list[str] = argument("IMAGE", "Image files, folders, or quoted patterns."),
    classes: Classes = None,
    templates: Templates = None,
    top: int = option("N", "Number of classes per image, the best first.", min=1, max=MOST, default=1),
    threshold: float = option(
        "NUMBER",
        'An image with a smaller similarity to its best class is "none of these". `gift test` prints one for the '
        "images that it gets: take validation images.",
        min=-1,
        max=1,
        default=-1.0,
    ),
    output: Literal["table", "csv"] = option("FORMAT", "table or csv. JSON: --json.", "--format", default="table"),
    device: Device = "auto",
    pretrained: Pretrained = None,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Classify images among the classes that the model has learned, or among any class names.

    The similarity (-1 to 1) is the cosine of image and class. The score (0 to 1) compares
    the classes with each other; it is not a calibrated probability. A model that has
    learned only captions ranks captions. Files that are no images are left out and
    counted. The exit code is 1 if an image cannot be read.

    Example: gift predict data/6_released/gift/digits photos/ --top 3
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.use.class_lists import names_of
    from gift_core.use.predict import classify_images, csv_lines, find_images, record, table_lines

    require_model_path(model)
    chosen = _chosen_classes(classes, templates, model, root)
    paths, notes = find_images(images)
    from gift_core.interop.importing import open_model

    clip = open_model(model, pretrained, device=device)
    for text in notes:
        note(text)
    if classes is None:
        kind = "captions of tasks" if chosen[0].are_captions else "classes: those"
        note(f"{len(names_of(chosen))} {kind} that the model has learned")
    unreadable: Unreadable = {}
    results = classify_images(clip, paths, chosen, unreadable, top=top, threshold=threshold)
    if not sys.stdout.isatty():  # no progress bar between printed lines
        results = progress(results, len(paths), "images")
    if as_json:
        print_json([{"path": path, "classes": list(map(record, ranked))} for path, ranked in results])
    else:
        for line in csv_lines(results) if output == "csv" else table_lines(results, paths):
            typer.echo(line)
    exit_with(unreadable)


def _chosen_classes(source: str | None, templates: Path | None, model: str, root: Path) -> list[class_lists.Classes]:
    """Those that the model has learned, or those of --classes. A text file has no templates."""
    from gift_core.use.class_lists import learned_classes, read_classes

    if source is None:
        return learned_classes(model, templates)
    chosen = read_classes(source, templates, Layout(root))
    has_templates = templates or not Path(source).is_file() or source.endswith(".json")
    return [chosen if has_templates else _with_templates(chosen, model)]


def _with_templates(classes: class_lists.Classes, model: str) -> class_lists.Classes:
    """The classes, which have no templates of their own, with those of the model's task; a note says which."""
    from gift_core.use.class_lists import templates_of_model

    complete = templates_of_model(classes, model)
    source = "For other texts: --templates FILE." if complete is classes else "The model has learned a task with it."
    note(f'The text of a class is "{complete.templates[0]}". {source}')
    return complete


def exit_with(unreadable: Unreadable) -> None:
    """Says for each reason which files were not read, and exits with 1 if there are any, else with 0."""
    for reason, paths in unreadable.items():
        names = first_names([printable(str(path)) for path in paths])
        typer.secho(f"not read: {plural(len(paths), 'file')}, {reason} ({names})", fg=typer.colors.RED, err=True)
    raise typer.Exit(1 if unreadable else 0)


def test(
    model: Model,
    images: str = argument(
        "IMAGES",
        "A folder with <class>/* or test/<class>/*, or an ingested task, whose test images are taken. Of a task "
        "with captions, retrieval is measured.",
    ),
    classes: Classes = None,
    learned: bool = flag("--learned", "Classify among all classes that the model has learned, as `gift predict` does."),
    templates: Templates = None,
    device: Device = "auto",
    pretrained: Pretrained = None,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Measure the accuracy of any model on labeled images, with its 95% interval.

    Each image is classified among the classes of IMAGES. With --learned or --classes it
    is a harder question: among more classes. The exit code is 1 if an image cannot be read.

    Example: gift test data/6_released/gift/digits photos/ --learned
    """
    from gift_core.artifacts.model_folder import require_model_path
    from gift_core.use.class_lists import names_of
    from gift_core.use.labeled_images import open_labeled_images, require_labels, score
    from gift_core.use.predict import classify_images

    if learned and classes is not None:
        raise typer.BadParameter("give only one of --learned and --classes")
    require_model_path(model)
    labeled = open_labeled_images(images, templates, Layout(root))
    if labeled.task and labeled.classes.are_captions:
        if learned or classes is not None or templates is not None:
            raise typer.BadParameter(f"{images} has captions: leave out --learned, --classes and --templates")
        _test_retrieval(labeled.task, model, pretrained, device=device, as_json=as_json)
        return
    among = [labeled.classes]
    if learned or classes is not None:
        among = _chosen_classes(classes, templates, model, root)
    elif labeled.task is None and templates is None:
        among = [_with_templates(labeled.classes, model)]
    same = require_labels(labeled.classes, among, "--learned" if learned else f"--classes {classes}")
    from gift_core.interop.importing import open_model

    clip = open_model(model, pretrained, device=device)
    for text in labeled.notes:
        note(f"{images}: {text}")
    unreadable: Unreadable = {}
    paths = list(labeled.label_of)
    results = progress(classify_images(clip, paths, among, unreadable, read=labeled.read), len(paths), "images")
    result = score((same[labeled.label_of[path]], best.name, best.similarity) for path, (best,) in results)
    _print_result(model, images, result, len(names_of(among)), as_json=as_json)
    exit_with(unreadable)


def _print_result(model: str, images: str, result: TestResult, among: int, *, as_json: bool) -> None:
    total = result.total
    by_class = sorted(result.by_class.items(), key=lambda of_class: of_class[1].percent)
    if as_json:
        confusions = [{"class": label, "predicted": wrong, "images": n} for label, wrong, n in result.confusions]
        classes = {name: _numbers(score) for name, score in result.by_class.items()}
        asked = {"model": model, "images": images, "among": among, **_numbers(total)}
        print_json({**asked, "threshold": result.threshold, "classes": classes, "confusions": confusions})
        return
    sentence = f"{total.percent:.1f}% of {total.images:,} images are classified correctly, among {among} classes"
    typer.echo(f"{model}: {sentence} (95% interval: {_interval(*total.interval)})")
    rows = [
        (name, f"{of_class.percent:.1f}%", f"{of_class.images:,}", _interval(*of_class.interval))
        for name, of_class in by_class[:SHOWN_CLASSES]
    ]
    print_table(("class", "correct", "images", "95% interval"), rows, left=1, **PLAIN)
    if len(by_class) > SHOWN_CLASSES:
        typer.echo(f"  ... and {len(by_class) - SHOWN_CLASSES} better ones (--json has all)")
    if result.confusions:
        typer.echo("Most frequent confusions:")
    for label, predicted, count in result.confusions[:SHOWN_CONFUSIONS]:
        typer.echo(f"  {count:4} x {label} -> {predicted}")
    hint(f"95% of the images have a similarity of {result.threshold} or more to their predicted class. Among the same")
    hint(f'classes, gift predict --threshold {result.threshold} calls images below it "none of these".')


def _test_retrieval(task: Path, model: str, pretrained: str | None, *, device: str, as_json: bool) -> None:
    from gift_core.interop.importing import open_model
    from gift_core.method.metrics import accuracy_interval
    from gift_core.use.labeled_images import retrieve

    retrieved, images = retrieve(task, open_model(model, pretrained, device=device))
    low, high = accuracy_interval([retrieved.mean], [images])
    rows = {
        "images for captions": (retrieved.images, retrieved.images_rank),
        "captions for images": (retrieved.captions, retrieved.captions_rank),
    }
    if as_json:
        by_direction = {
            name.replace(" ", "_"): {
                **{f"recall_at_{top}": recall / 100 for top, recall in zip((1, 5, 10), recalls, strict=True)},
                "mean_rank": rank,
            }
            for name, (recalls, rank) in rows.items()
        }
        both = {"recall_at_1": retrieved.mean / 100, "interval": [low / 100, high / 100]}
        print_json({"model": model, "images": images, **both, **by_direction})
        return
    sentence = f"Recall@1 on {images:,} images is {retrieved.mean:.1f}%, the mean of both directions"
    typer.echo(f"{model}: {sentence} (95% interval: {_interval(low, high)})")
    texts = [(name, *(f"{recall:.1f}%" for recall in recalls), f"{rank:.1f}") for name, (recalls, rank) in rows.items()]
    print_table(("", "Recall@1", "@5", "@10", "mean rank"), texts, left=1, **PLAIN)


def _interval(low: float, high: float) -> str:
    return f"{low:.1f}% to {high:.1f}%"


def _numbers(score: Score) -> dict[str, Any]:
    """The score as --json has it, accuracies from 0 to 1."""
    accuracy, *bounds = (round(percent / 100, 6) for percent in (score.percent, *score.interval))
    return {"accuracy": accuracy, "interval": bounds, "correct": score.correct, "images": score.images}
