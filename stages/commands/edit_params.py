"""add-task, remove-task, order: the rows of tasks and their steps in params.yaml."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.config.tasks import PairsTaskConfig, UserTaskConfig, asked_of, user_rows
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import first_names, plural

from ..command_line import AsJson, DryRun, carry_out, next_step, note
from ..options import PARAMS, ROOT, Params, Root, argument, flag, option, params_of

if TYPE_CHECKING:
    from gift_core.config.experiment import Config
    from gift_core.datasets.dataset import Dataset
    from gift_core.datasets.new_task import Addition
    from gift_core.doctor.finding import Project

CLASSES_SHOWN = 40
PAIRS_SHOWN = 5
STAYS = "Images and results stay in data/."

OF_HUB = "A data set of the Hugging Face hub, instead of --images"
FILES = "Images with captions instead of classes: picture.txt beside picture.jpg, or a table or tars of them."
FACTOR = "A factor for each method's learning rate in this task: 1.0."
DECODE = "Decode every image: which are broken, tiny, in both splits, or there twice?"
Text = str | None
OF_HUB_ONLY = ("revision", "config", "train_split", "test_split")
KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


def _with_keys_of_rows(command: Callable[..., None]) -> Callable[..., None]:
    """Gives the command an option for each key of a row (Asked) in place of `**row_keys`, those of a source first."""
    signature = inspect.signature(command, eval_str=True)
    *others, _ = signature.parameters.values()
    options: dict[str, inspect.Parameter] = {}
    for row in user_rows().values():
        for key, asked in asked_of(row).items():
            names = (asked.name,) if asked.name else ()
            panel = None if key in UserTaskConfig.model_fields else row.panel
            default = option(asked.metavar, asked.help, *names, panel=panel)
            parameter = inspect.Parameter(key, KEYWORD_ONLY, default=default, annotation=asked.type | None)
            options.setdefault(key, parameter)
    of_rows = sorted(options.values(), key=lambda parameter: parameter.name in UserTaskConfig.model_fields)
    parameters = sorted([*of_rows, *others], key=lambda parameter: parameter.kind)
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


@_with_keys_of_rows
def add_task(
    ctx: typer.Context,
    name: str = argument("NAME", "The task's name: lower-case letters, digits and _."),
    images: Path | None = option("FOLDER", "The folder: <class>/*, or train/<class>/* and test/<class>/*."),
    *,
    captions: bool = flag("--captions", f"{FILES} Tested by retrieval.", panel=PairsTaskConfig.panel),
    learning_rate_factor: float | None = option("NUMBER", FACTOR),
    probe: bool = flag("--probe", "No step learns it: every model is tested on it, which shows what it forgets."),
    link: bool = flag("--link", "Link images from outside data/0_raw into it."),
    copy: bool = flag("--copy", "Copy images from outside data/0_raw into it."),
    check: bool = flag("--check", DECODE),
    hub: Text = option("USER/NAME", "A data set of the Hugging Face hub.", panel=OF_HUB),
    revision: Text = option("REVISION", "A branch, tag or commit: main. The commit is written.", panel=OF_HUB),
    config: Text = option("NAME", "One of the repository's configs.", panel=OF_HUB),
    train_split: Text = option("SPLIT", "What to train on: train, or train+validation.", panel=OF_HUB),
    test_split: Text = option("SPLIT", "What to test on: test, or else validation.", panel=OF_HUB),
    dry_run: DryRun = False,
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
    **row_keys: Any,
) -> None:
    """Add a data set of the hub or your own as the next task: its row and its step in params.yaml.

    With --probe, no step learns it: the model is tested on it after every step.
    The data set is checked first, and its classes are shown. params.yaml keeps
    its comments and order. An error changes nothing. To look first: --check
    --dry-run.

    Example: gift add-task garments --images ~/photos/garments --link
    """
    from gift_core.datasets.new_task import plan_task
    from gift_core.doctor.finding import Project

    row, record, shown = _row_of(ctx.params, row_keys)
    factor = learning_rate_factor
    if factor is None and not probe:
        factor = 1.0
    bring = next((key for key in ("link", "copy") if ctx.params[key]), None)
    with _named_by_options(ctx, name):
        edit = plan_task(name, row, images, params=params_of(params, root), root=root, factor=factor, bring=bring)
    if edit.dataset is not None:
        repeated, lines = _look_at_texts(name, Project(root, edit.config), edit.dataset, check=check)
        record, shown = _look_at_images(name, edit, edit.dataset, check=check, on_bad=row["on_bad_image"])
        record["check"]["same_tokens"], shown = repeated, [*shown, *lines]
    download = "" if hub is None else f" Download it first: gift data fetch {name}."
    before = [step.task for step in edit.config.sequence if step.task != name]
    after = "" if probe or not before else f" It is learned after {first_names(before)} (gift order changes that)."
    done = f"params.yaml has the new task.{download}{after} {next_step(edit.config)}"
    hints = done, f"To take it back: gift remove-task {name}"
    carry_out(edit, {"task": name, **record}, shown=shown, hints=hints, write=not dry_run, as_json=as_json)


@contextmanager
def _named_by_options(ctx: typer.Context, name: str) -> Iterator[None]:
    """An error about a key of the new row and its step, which are in no file yet, names the option for it."""
    options = {str(param.name): param.opts[0] for param in ctx.command.params} | {"path": "--images"}
    key = re.compile(rf"^[^:\n]+: (?:tasks\.{re.escape(name)}|sequence\[\d+\])\.(\w+)(\[\d+\])?", re.MULTILINE)
    try:
        yield
    except UserError as error:
        raise UserError(key.sub(lambda found: options.get(found[1], found[0]), str(error))) from error


def _row_of(given: dict[str, Any], row_keys: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Returns the row that the options of add-task mean, and of a data set of the hub its record and its lines.

    BadParameter for options that do not go together.
    """
    from gift_core.datasets.new_task import hub_row, known_class_names, new_row

    images, hub = given["images"], given["hub"]
    captions = given["captions"]
    if (images is None) == (hub is None):
        raise typer.BadParameter("give one of --images and --hub")
    here, others = ("--hub", OF_HUB_ONLY) if hub is None else ("--images", ("link", "copy", "check"))
    if unused := [key.replace("_", "-") for key in others if given[key]]:
        raise typer.BadParameter(f"--{unused[0]} goes with {here} only")
    if given["link"] and given["copy"]:
        raise typer.BadParameter("give only one of --link and --copy")
    if given["probe"] and given["learning_rate_factor"] is not None:
        raise typer.BadParameter("--learning-rate-factor is of a task that is learned. Leave it out, or --probe.")
    options = row_keys | {"templates": row_keys["templates"] or None}
    if hub is None:
        return new_row(images, options, captions=captions), {}, []
    from gift_core.datasets.hub_dataset import look_up

    dataset = look_up(hub, revision=given["revision"], config=given["config"], location="gift add-task --hub")
    splits = {key: given[f"{key}_split"] for key in ("train", "test") if given[f"{key}_split"]}
    record = {"repository": dataset.name, "commit": dataset.commit, "splits": dataset.counts}
    row, lines = hub_row(dataset, splits, options, captions=captions), [*dataset.lines()]
    if names := known_class_names(dataset, row):
        lines.append(_prompt_line(names, row["templates"]))
    return row, record, lines


def _look_at_texts(name: str, project: Project, dataset: Dataset, *, check: bool) -> tuple[dict[str, int], list[str]]:
    """Returns how many captions of each split are another one's text to the model, and lines for a person.

    UserError for two classes that are the same to the model. Captions are compared with `check` only.
    """
    from gift_core.doctor.distinct_classes import described, repeated_captions, require_known_classes

    require_known_classes(project, new=described(name, dataset))
    repeated = repeated_captions(project, dataset) if check else {}
    meaning = "with the tokens of another one, so they are one text to the model"
    named = {"train": "training caption", "test": "test caption"}
    return repeated, [f"  {plural(count, named[split])} {meaning}." for split, count in repeated.items() if count]


def _look_at_images(
    name: str, edit: Addition, dataset: Dataset, *, check: bool, on_bad: str
) -> tuple[dict[str, Any], list[str]]:
    """Returns what JSON has of the images, and lines for a person. UserError if some are broken and not to be skipped.

    With `check` every image is decoded.
    """
    from gift_core.datasets.status import ImageFindings, check_images

    findings = check_images(dataset, name) if check else ImageFindings(0)
    if findings.broken and on_bad == "refuse":
        note("\n".join(f"  {line}" for line in findings.lines()))
        remedy = "Repair or remove them, or leave them out: --on-bad-image skip"
        raise UserError(f"--images {edit.images}: {findings.broken_line()}. {remedy}.")
    warnings = _warnings(name, edit, dataset)
    notes = [*_splits_of(name, edit.config, dataset), *dataset.notes]
    classes = {} if dataset.has_captions else _images_of_classes(dataset)
    record: dict[str, Any] = {
        "classes": classes,
        **({"captions": dataset.captions} if dataset.has_captions else {}),
        "notes": [*notes, *warnings],
        "check": {"images": findings.count, "broken": findings.broken, **findings.others},
    }
    lines = [f"{name}: {dataset.described}, {len(dataset.train)} training images, {len(dataset.test)} test images"]
    if dataset.has_captions:
        lines += [f"  {sample.name}: {' | '.join(sample.captions)}" for sample in dataset.train[:PAIRS_SHOWN]]
    else:
        lines += _class_lines(classes, dataset.templates)
    if findings.broken:
        notes.append(f"{findings.broken_line()}. They are left out.")
    lines += [f"  {line}" for line in (*notes, *findings.lines())]
    return record, [*lines, *(typer.style(f"  {warning}", fg=typer.colors.YELLOW) for warning in warnings)]


def _images_of_classes(dataset: Dataset) -> dict[str, dict[str, int]]:
    """The numbers of images by class name: {"felt hat": {"train": 30, "test": 10}}."""
    train = Counter(sample.label for sample in dataset.train)
    test = Counter(sample.label for sample in dataset.test)
    return {title: {"train": train[label], "test": test[label]} for label, title in dataset.classes.items()}


def _class_lines(classes: Mapping[str, Mapping[str, int]], templates: Sequence[str]) -> list[str]:
    """A line for each of the first classes, below a line of titles, and the prompt."""
    width = max(map(len, classes))
    rows = [f"  {title:<{width}}  {count['train']:5}  {count['test']:4}" for title, count in classes.items()]
    more = [f"  ... and {len(rows) - CLASSES_SHOWN} more"] if len(rows) > CLASSES_SHOWN else []
    return [f"  {'class':<{width}}  train  test", *rows[:CLASSES_SHOWN], *more, _prompt_line(classes, templates)]


def _warnings(name: str, edit: Addition, dataset: Dataset) -> list[str]:
    """What a person should know before the training: names that mean little, few images, the miniature's CLIP."""
    from gift_core.datasets.status import MORE_TESTED, can_test_more, few_tested
    from gift_core.mini.miniature import miniature_of

    warnings = []
    if not dataset.has_captions and all(title.isdigit() for title in dataset.classes.values()):
        warnings.append("The class names are numbers, which mean little to CLIP. See --class-names.")
    miniature = miniature_of(edit.config)  # the doctor and the report say it always
    if miniature.warning and miniature.other_tasks == (name,):
        warnings.append(miniature.warning)
    few = few_tested(dataset)
    if few:
        more = can_test_more(dataset, getattr(edit.config.tasks[name], "test_fraction", None))
        warnings.append(f"{few}.{f' More of them: --test-fraction {MORE_TESTED}.' if more else ''}")
    return warnings


def _splits_of(name: str, config: Config, dataset: Dataset) -> Iterator[str]:
    """Yields where the splits come from, if they are a table's column or made by seed."""
    task = config.tasks[name]
    if (column := getattr(task, "split_column", None)) is not None:
        yield f"Splits: column {column!r} of {getattr(task, 'table', None)}."
    if dataset.by_seed:
        of = "the images" if dataset.has_captions else "each class"
        yield f"Test images: {100 * getattr(task, 'test_fraction', 0):g}% of {of}, by seed (test_fraction)."
    if dataset.by_seed and name in config.evaluation.probes:
        yield "Few training images, because no step learns a probe. One of each class is the least."


def _prompt_line(classes: Iterable[str], templates: Sequence[str]) -> str:
    """Returns the prompt of the longest name, where hyphens, capitals and codes are most likely to be seen."""
    others = f"   and {plural(len(templates) - 1, 'other template')}" if len(templates) > 1 else ""
    return f"  prompt: {templates[0].replace('{}', max(classes, key=len))}{others}"


def remove_task(
    names: list[str] = argument("NAME", "A task of params.yaml, or several."),
    dry_run: DryRun = False,
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Remove tasks: their rows and their steps in params.yaml. The next step then follows the one before.

    Tasks that come later in the sequence are learned again. Images and results
    stay where they are.

    Example: gift remove-task garments --dry-run
    """
    from gift_core.config.params_edit import plan_task_removal

    removal, later = plan_task_removal(names, params=params_of(params, root))
    layout, methods = Layout(root), removal.config.run.methods
    again = [task for task in later if any(layout.model(name, task).exists() for name in methods)]
    record = {"tasks": names, "learned_again": again}
    shown = [f"Learned again, at an earlier step than before: {', '.join(again)}"] if again else []
    links = [layout.raw(name) for name in names if layout.raw(name).is_symlink()]
    hints = [f"{link} is still a link to {link.readlink()}. To remove it: rm {link}" for link in links]
    hints.append(f"{STAYS} {next_step(removal.config)}")
    carry_out(removal, record, shown=shown, hints=hints, write=not dry_run, as_json=as_json)


def order(
    names: list[str] = argument("TASK", "All tasks of the sequence, in their new order."),
    dry_run: DryRun = False,
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Learn the tasks in another order: sequence of params.yaml, and `after` of each step.

    Each step keeps its learning_rate_factor and its comments. From the first task
    that moved on, all steps run again. Results of the order before stay in DVC's
    cache: the same order later takes them from there.

    Example: gift order textures letters digits greek
    """
    from gift_core.config.params_edit import plan_order

    edit, again = plan_order(names, params=params_of(params, root))
    kept = names[: len(names) - len(again)]
    shown = [f"Runs again for each method: prompts, images, training and tests of {', '.join(again)}."] if again else []
    shown += [f"Stays as it is: {', '.join(kept)}."] if kept else []
    hints = [f"params.yaml has the new order. {next_step(edit.config)}"]
    carry_out(edit, {"order": names, "runs_again": again}, shown=shown, hints=hints, write=not dry_run, as_json=as_json)
