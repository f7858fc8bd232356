"""add-task NAME, remove-task NAME: a row of tasks and its step in the sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gift_core.errors import UserError

from ..command_line import AsJson, DryRun, hint, next_step, print_edit, print_json
from ..completion import complete_task
from ..stage import PARAMS, ROOT, Params, Root, argument, flag, option, params_of

if TYPE_CHECKING:
    from gift_core.config.params_edit import ParamsEdit
    from gift_core.datasets.dataset import Dataset
    from gift_core.datasets.new_task import Addition

CLASSES_SHOWN = 40
PAIRS_SHOWN = 5


TABLE = "Images listed in a table"
TARS = "Images in WebDataset tars"
PAIRS = "Images with captions"
OF_HUB = "A data set of the Hugging Face hub, instead of --images"
Name = Annotated[str, argument("NAME", "The task's name: lower-case letters, digits and _.")]
Images = Annotated[Path | None, option("FOLDER", "The folder: <class>/*, or train/<class>/* and test/<class>/*.")]
Templates = Annotated[
    list[str] | None, option("TEMPLATE", "A prompt with {} for the class name. Repeat it for several.")
]
TestFraction = Annotated[
    float | None, option("SHARE", "The share of each class for testing, if the data has no splits: 0.2.")
]
BadImage = Annotated[str, option("refuse|skip", "What to do with an undecodable image.")]
Duplicate = Annotated[
    str, option("keep|skip", "What to do with copies (the same bytes), and with test images that are also in training.")
]
ClassNames = Annotated[Path | None, option("FILE", "A text file in the folder with one name per line, in label order.")]
Shots = Annotated[int | None, option("N", "The number of training images per class, sampled by seed.")]
Table = Annotated[str | None, option("FILE", "A CSV or Parquet file in the folder, one row per image.", panel=TABLE)]
ImageColumn = Annotated[
    str | None, option("COLUMN", "The column of files, relative to the folder: image.", panel=TABLE)
]
LabelColumn = Annotated[str | None, option("COLUMN", "The column of labels, numbers or names: label.", panel=TABLE)]
SplitColumn = Annotated[
    str | None, option("COLUMN", "The column with train or test. Without it: split by seed.", panel=TABLE)
]
Tars = Annotated[str | None, option("PATTERN", "Training tars: birds-{000..005}.tar, train/*.tar.", panel=TARS)]
TestTars = Annotated[str | None, option("PATTERN", "Test tars. Without them: split by seed.", panel=TARS)]
Label = Annotated[str | None, option("EXTENSION", "The extension of a sample's label: cls; or json:<key>.", panel=TARS)]
Captions = Annotated[
    bool, typer.Option("--captions", help="Images with captions instead of classes: picture.txt beside picture.jpg, "
                       "or a table or tars of them. Tested by retrieval.", rich_help_panel=PAIRS)
]  # fmt: skip
CaptionColumn = Annotated[
    str | None, option("COLUMN", "The table's column of captions: caption. A row for each.", panel=PAIRS)
]
VocabularyCaptions = Annotated[
    int | None, option("N", "How many training captions join the vocabulary of prompts: 200.", panel=PAIRS)
]
Factor = Annotated[float | None, option("NUMBER", "A factor for each method's learning rate in this task: 1.0.")]
Probe = Annotated[bool, flag("--probe", "No step learns it: every model is tested on it, which shows what it forgets.")]
Hub = Annotated[str | None, option("USER/NAME", "A data set of the Hugging Face hub.", panel=OF_HUB)]
Revision = Annotated[
    str | None, option("REVISION", "A branch, tag or commit: main. The commit is written.", panel=OF_HUB)
]
HubConfig = Annotated[str | None, option("NAME", "One of the repository's configs.", panel=OF_HUB)]
TrainSplit = Annotated[str | None, option("SPLIT", "What to train on: train, or train+validation.", panel=OF_HUB)]
TestSplit = Annotated[str | None, option("SPLIT", "What to test on: test, or else validation.", panel=OF_HUB)]
Link = Annotated[bool, flag("--link", "Link images from outside data/0_raw into it.")]
Copy = Annotated[bool, flag("--copy", "Copy images from outside data/0_raw into it.")]
Check = Annotated[bool, flag("--check", "Decode every image: which are broken, tiny, in both splits, or there twice?")]


def add_task(
    name: Name,
    images: Images = None,
    template: Templates = None,
    test_fraction: TestFraction = None,
    on_bad_image: BadImage = "refuse",
    on_duplicate: Duplicate = "keep",
    class_names: ClassNames = None,
    shots: Shots = None,
    learning_rate_factor: Factor = None,
    probe: Probe = False,
    link: Link = False,
    copy: Copy = False,
    check: Check = False,
    dry_run: DryRun = False,
    table: Table = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    webdataset: Tars = None,
    webdataset_test: TestTars = None,
    label: Label = None,
    captions: Captions = False,
    caption_column: CaptionColumn = None,
    vocabulary_captions: VocabularyCaptions = None,
    hub: Hub = None,
    revision: Revision = None,
    config: HubConfig = None,
    train_split: TrainSplit = None,
    test_split: TestSplit = None,
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Add a data set of the hub or your own as the next task: its row and its step in params.yaml.

    With --probe, no step learns it: the model is tested on it after every step.
    The data set is checked first, and its classes are shown. params.yaml keeps
    its comments and order. An error changes nothing. To look first: --check
    --dry-run.

    Example: gift add-task garments --images ~/photos/garments --link
    """
    from gift_core.datasets.new_task import new_row, plan_task

    given = {
        "table": table, "image_column": image_column, "label_column": label_column, "caption_column": caption_column,
        "split_column": split_column, "train": webdataset, "test": webdataset_test, "label": label,
        "vocabulary_captions": vocabulary_captions, "templates": template or None, "test_fraction": test_fraction,
        "on_duplicate": None if on_duplicate == "keep" else on_duplicate, "on_bad_image": on_bad_image,
        "class_names": class_names, "shots": shots,
    }  # fmt: skip
    of_hub = {"--revision": revision, "--config": config, "--train-split": train_split, "--test-split": test_split}
    of_images = {"--link": link, "--copy": copy, "--check": check}
    _require_one_source(images, hub, of_images, of_hub)
    if probe and learning_rate_factor is not None:
        raise typer.BadParameter("--learning-rate-factor is of a task that is learned. Leave it out, or --probe.")
    if hub is None:
        row = new_row(images or Path(), given, captions=captions)
    else:
        row, record, shown = _look_at_repository(hub, of_hub, given, captions=captions)
    factor = None if probe else 1.0 if learning_rate_factor is None else learning_rate_factor
    bring, refusal = "link" if link else "copy" if copy else None, ""
    edit = plan_task(name, row, images, params=params_of(params, root), root=root, factor=factor, bring=bring)
    if edit.dataset is not None:
        record, shown, refusal = _look_at_images(name, edit, edit.dataset, check=check, on_bad=on_bad_image)
    is_written = not dry_run and not refusal
    if is_written:
        edit.carry_out()
    if as_json:
        print_json({"task": name, **record, "written": is_written})
    else:
        typer.echo("\n".join(shown))
    if refusal:
        remedy = "Repair or remove them, or leave them out: --on-bad-image skip"
        raise UserError(f"--images {images}: {refusal}. {remedy}.")
    if not as_json:
        print_edit(edit, dry_run=dry_run)
        if is_written:
            download = "" if hub is None else f" Download it first: gift data fetch {name}."
            hint(f"params.yaml has the new task.{download} {next_step(edit.config)}")
            hint(f"To take it back: gift remove-task {name}")


def _require_one_source(
    images: Path | None, hub: str | None, of_images: Mapping[str, Any], of_hub: Mapping[str, Any]
) -> None:
    if (images is None) == (hub is None):
        raise typer.BadParameter("give one of --images and --hub")
    here, other = ("--images", of_images) if hub is not None else ("--hub", of_hub)
    if unused := [each for each, value in other.items() if value]:
        raise typer.BadParameter(f"{unused[0]} goes with {here} only")
    if of_images["--link"] and of_images["--copy"]:
        raise typer.BadParameter("give only one of --link and --copy")


def _look_at_repository(
    hub: str, options: Mapping[str, Any], given: Mapping[str, Any], *, captions: bool
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Returns the row of params.yaml for a repository of the hub, what JSON has of it, and lines for a person."""
    from gift_core.datasets.hub_fetch import look_up
    from gift_core.datasets.new_task import hub_row

    revision, config = options["--revision"], options["--config"]
    found = look_up(hub, revision=revision, config=config, location="gift add-task --hub")
    splits = {split: name for split in ("train", "test") if (name := options[f"--{split}-split"])}
    record = {"repository": found.name, "commit": found.commit, "splits": found.counts}
    return hub_row(found, splits, given, captions=captions), record, list(found.lines())


def _look_at_images(
    name: str, addition: Addition, dataset: Dataset, *, check: bool, on_bad: str
) -> tuple[dict[str, Any], list[str], str]:
    """Checks the images. Returns what JSON has of them, lines for a person, and why they are refused, if so."""
    from gift_core.datasets.status import ImageFindings, check_images
    from gift_core.mini.miniature import miniature_of

    findings = check_images(dataset, name) if check else ImageFindings(0)
    refusal = findings.broken_line() if findings.broken and on_bad == "refuse" else ""
    train, test = (Counter(sample.label for sample in samples) for samples in (dataset.train, dataset.test))
    classes = {each: {"train": train[label], "test": test[label]} for label, each in dataset.classes.items()}
    warnings = [warning] if (warning := miniature_of(addition.config).warning) else []
    record: dict[str, Any] = {
        **({"classes": {}, "captions": dataset.captions} if dataset.has_captions else {"classes": classes}),
        "notes": [*dataset.notes, *warnings],
        "check": {"images": findings.count, "broken": findings.broken, **findings.others},
    }
    counts = f"{len(dataset.train)} training images, {len(dataset.test)} test images"
    lines = [f"{name}: {dataset.described}, {counts}"]
    if dataset.has_captions:
        lines += [f"  {sample.name}: {' | '.join(sample.captions)}" for sample in dataset.train[:PAIRS_SHOWN]]
    else:
        width = max(map(len, dataset.class_names))
        lines.append(f"  {'class':<{width}}  train  test")
        for class_name, count in list(classes.items())[:CLASSES_SHOWN]:
            lines.append(f"  {class_name:<{width}}  {count['train']:5}  {count['test']:4}")
        if len(classes) > CLASSES_SHOWN:
            lines.append(f"  ... and {len(classes) - CLASSES_SHOWN} more")
        if all(class_name.isdigit() for class_name in classes):
            warnings = ["The class names are numbers, which mean little to CLIP. See --class-names.", *warnings]
    left_out = [f"{findings.broken_line()}. They are left out."] if findings.broken and not refusal else []
    lines += [f"  {note}" for note in (*dataset.notes, *left_out, *findings.lines())]
    lines += [typer.style(f"  {warning}", fg=typer.colors.YELLOW) for warning in warnings]
    return record, lines, refusal


KnownNames = Annotated[list[str], argument("NAME", "A task of params.yaml, or several.", autocompletion=complete_task)]


def remove_task(
    names: KnownNames, dry_run: DryRun = False, as_json: AsJson = False, params: Params = PARAMS, root: Root = ROOT
) -> None:
    """Remove tasks: their rows and their steps in params.yaml. The next step then follows the one before.

    Tasks that come later in the sequence are learned again. Images and results
    stay where they are.

    Example: gift remove-task garments --dry-run
    """
    from gift_core.config.params_edit import plan_task_removal

    removal = plan_task_removal(names, params=params_of(params, root))
    show_removal(removal, {"tasks": names, "learned_again": removal.later}, dry_run=dry_run, as_json=as_json)
    if removal.later and not as_json:
        typer.echo(f"At an earlier step than before, and learned again if they were: {', '.join(removal.later)}")


def show_removal(removal: ParamsEdit, record: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    """Carries out the removal of tasks or a method, and prints what changes. `record` is what JSON has of it."""
    if not dry_run:
        removal.carry_out()
    if as_json:
        print_json({**record, "written": not dry_run})
        return
    print_edit(removal, dry_run=dry_run)
    hint(f"Images and results stay in data/. {next_step(removal.config)}")
