"""A row of the section tasks in params.yaml: where a data set comes from. The pipeline watches `path` for changes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from gift_core.config.section import TEMPLATE, Count, Pattern, Section, Template, Text, text_or_section

Findings = Iterator[tuple[str, str]]
Templates = Annotated[tuple[Template, ...], Field(min_length=1, max_length=1000)]
Fraction = Annotated[float, Field(ge=1e-6, lt=1)]
Captions = Annotated[int, Field(ge=2, le=1_000_000)]
ClassNames = Annotated[
    Annotated[Text, Tag("text")] | Annotated[dict[str, Text], Tag("section")], Discriminator(text_or_section)
]
COMMIT = r"^[0-9a-f]{40}$"
Commit = Annotated[str, Field(pattern=COMMIT)]
HubSplits = Annotated[dict[Literal["train", "test", "validation"], Text], Field(min_length=1)]
TABLES = (".csv", ".tsv", ".parquet")
MAX_TEMPLATE = 1000  # characters
SHOWN = 80  # characters of a wrong template in a message
# Where the pipeline writes, and the folders above.
MADE = re.compile(r"data|(data/([1-9]_[^/]*|code)|reports|\.gift)(/.*)?")


class MiniTaskConfig(Section):
    """A task of the embedded miniature benchmark. Its images are rendered and split by seed.

    `vocabulary_captions`: as in PairsTaskConfig, for the task that has captions instead of classes.
    """

    source: Literal["mini"]
    path: Literal["data/mini"]
    train_images: Count
    test_images: Count
    vocabulary_captions: Captions | None = None


class UserDataConfig(Section):
    """The keys that all of a user's own data sets have.

    `test_fraction`: the share of each class that is kept for testing, of a data set without splits. `on_duplicate`:
    skip leaves out copies (the same bytes) and test images that are also in the training split.
    """

    path: Text
    test_fraction: Fraction | None = None
    on_duplicate: Literal["keep", "skip"] | None = None
    on_bad_image: Literal["refuse", "skip"]


class UserTaskConfig(UserDataConfig):
    """The keys that all of a user's own data sets with classes have.

    `templates`: training uses the first one, testing averages over all. `class_names`: null (as they are in the data),
    a text file in `path` with one name per line in the order of the labels, or a mapping from labels to names. `shots`:
    the number of training images per class, sampled by seed; null for all.
    """

    templates: Templates
    class_names: ClassNames | None = None
    shots: Count | None = None


class FolderTaskConfig(UserTaskConfig):
    """A folder of images with one sub-folder per class: path/{train,test}/<class>/*, or path/<class>/*."""

    source: Literal["folder"]


class TableTaskConfig(UserTaskConfig):
    """A CSV or Parquet file in `path` with one row per image. The paths of the image files are relative to `path`.

    `split_column` holds "train" and "test"; rows of a validation split are left out. null: the split is made by seed.
    """

    source: Literal["table"]
    table: Text
    image_column: Text
    label_column: Text
    split_column: Text | None = None


class WebDatasetTaskConfig(UserTaskConfig):
    """WebDataset tars in `path`, given by shell patterns relative to it. `test` null: the split is made by seed.

    `label` is the extension that holds a sample's label: a number, a name, or with "json:<key>" a key of its JSON.
    """

    source: Literal["webdataset"]
    train: Pattern
    test: Pattern | None = None
    label: Text


class HubTaskConfig(UserTaskConfig):
    """A data set of the Hugging Face hub. `gift data fetch` downloads its files to `path`.

    `config`: null for the only or the default one. `splits`: {train: its name there}, two joined as train+validation;
    without test, the split is made by seed. `label_column` holds names, or numbers that the schema or `class_names`
    name. WebDataset tars have no columns: there it is as `label` of WebDatasetTaskConfig.
    """

    source: Literal["hub"]
    repository: Text
    revision: Commit
    config: Text | None = None
    splits: HubSplits
    image_column: Text | None = None
    label_column: Text


class PairsTaskConfig(UserDataConfig):
    """Images with captions, tested by retrieval. Null `table` and `train`: caption files beside the images.

    picture.txt holds the captions of picture.jpg, one a line. `table`, with image_column, caption_column and
    split_column: as in TableTaskConfig, with a row for each caption. In a table that holds its images, a row has all
    captions of one, and several columns are joined with "::". `train` and `test`: patterns of WebDataset tars with .txt
    files. `repository` to `splits`, beside one of both: as in HubTaskConfig. `vocabulary_captions`: the number of
    training captions, sampled by seed, that join the vocabulary of the prompts, as the names of the classes of another
    task do.
    """

    source: Literal["pairs"]
    vocabulary_captions: Captions
    table: Text | None = None
    image_column: Text | None = None
    caption_column: Text | None = None
    split_column: Text | None = None
    train: Pattern | None = None
    test: Pattern | None = None
    repository: Text | None = None
    revision: Commit | None = None
    config: Text | None = None
    splits: HubSplits | None = None


class ClassSliceConfig(Section):
    """`count` classes of a data set from position `first`, in the benchmark's order or in that of the labels."""

    order: Literal["benchmark", "labels"]
    first: Annotated[int, Field(ge=0, le=10_000_000)]
    count: Annotated[int, Field(ge=2, le=10_000_000)]


class CatalogueTaskConfig(Section):
    """A data set of the catalogue (`gift data status` lists them), in its official layout in `path`.

    `templates`: null for the catalogue's. `shots`: the number of training images per class, sampled by seed; null for
    all. `classes`: a slice of the classes; null for all. `allow_partial`: counts that differ from the official ones are
    reported instead of refused. `vocabulary_captions`: as in PairsTaskConfig, for a data set that has captions.
    """

    source: Literal["catalogue"]
    dataset: Text
    path: Text
    templates: Templates | None = None
    shots: Count | None = None
    classes: ClassSliceConfig | None = None
    vocabulary_captions: Captions | None = None
    allow_partial: bool = False
    on_bad_image: Literal["refuse", "skip"] = "refuse"


TaskConfig = Annotated[
    MiniTaskConfig | FolderTaskConfig | TableTaskConfig | WebDatasetTaskConfig | HubTaskConfig | PairsTaskConfig |
    CatalogueTaskConfig,
    Field(discriminator="source"),
]  # fmt: skip


def has_captions(task: TaskConfig) -> bool:
    """Returns whether the task has image-caption pairs, and no classes."""
    return getattr(task, "vocabulary_captions", None) is not None


def check_tasks(tasks: Mapping[str, TaskConfig]) -> Findings:
    """Yields (dotted path, "what is wrong. Remedy") for rows that their types allow and the pipeline cannot run."""
    for name, task in tasks.items():
        key = f"tasks.{name}"
        if isinstance(task, MiniTaskConfig):
            continue
        yield from _check_path(f"{key}.path", task.path)
        if isinstance(task, PairsTaskConfig):
            yield from _check_pairs(key, task)
            continue
        for option in ("templates", "shots", "classes") if has_captions(task) else ():
            if getattr(task, option) is not None:
                yield f"{key}.{option}", "has no effect on a data set with captions. Remove it."
        yield from check_templates(f"{key}.templates", task.templates or ())
        names = task.class_names if isinstance(task, UserTaskConfig) else None
        if isinstance(names, str) and not is_inside(names):
            what = f"{names} is outside the task's path, which is watched for changes"
            yield f"{key}.class_names", f"{what}. Put the file there."
        if isinstance(task, TableTaskConfig):
            yield from _check_table(key, task.table, (task.image_column, task.label_column, task.split_column))
        if isinstance(task, WebDatasetTaskConfig):
            yield from _check_patterns(key, task)
            if task.label == "json:" or task.label.startswith("."):
                what = f"{task.label} is no extension, nor a key of a JSON file"
                yield f"{key}.label", f"{what}. Write the extension of the label's file, cls, or json:<key>."


def _check_path(key: str, path: str) -> Findings:
    plain = posixpath.normpath(path)
    if "://" in path or "${" in path:
        yield key, f"{path} is no folder to DVC, but an address or a variable. Copy the data to data/0_raw/<name>."
    elif plain.startswith(("/", "~")) or plain.split("/")[0] == ".." or path[1:2] == ":":
        what = f"{path} is outside the project, so it would not be found on other machines"
        yield key, f"{what}. Link it: ln -s <the folder> data/0_raw/<name> (or copy it), and write that path."
    elif plain == ".":
        yield key, f"{path} is the whole project. Put the data into a folder of data/0_raw."
    elif MADE.fullmatch(plain):
        yield key, f"{path} is where the pipeline writes. Use a folder of data/0_raw."


def check_templates(key: str, templates: Sequence[str]) -> Findings:
    """Yields (key, "what is wrong. Remedy") for templates that are no short line with one {}, and for repeated ones."""
    for template in templates:
        if not re.fullmatch(TEMPLATE, template) or len(template) > MAX_TEMPLATE:
            what = f"{template[:SHOWN]!r} should contain {{}} for the class name once, and no other braces"
            yield key, f"{what}, in one line of at most {MAX_TEMPLATE} characters. Write one like 'a photo of a {{}}'."
    for template in sorted({template for template in templates if templates.count(template) > 1}):
        yield key, f"{template!r} is listed more than once. Remove the duplicate."


def _check_table(key: str, table: str, columns: Sequence[str | None]) -> Findings:
    if not table.lower().endswith(TABLES):
        yield f"{key}.table", f"{table} is not a supported table. Save it as one of {', '.join(TABLES)}."
    if not is_inside(table):
        yield f"{key}.table", f"{table} is outside the task's path, which is watched for changes. Put it there."
    named = [column for column in columns if column is not None]
    if len(set(named)) < len(named):
        yield f"{key}.table", f"a column is named twice: {', '.join(named)}. Name different columns."


def _check_pairs(key: str, task: PairsTaskConfig) -> Findings:
    if task.table is not None and task.train is not None:
        yield f"{key}.train", "table is given, too, and a task has one source. Remove one of them."
    columns = {name: getattr(task, name) for name in ("image_column", "caption_column", "split_column")}
    for name, column in columns.items():
        if column is not None and task.table is None:
            yield f"{key}.{name}", "has no effect without table. Write table: captions.csv, or remove the column."
        if column is None and task.table is not None and name != "split_column":
            yield f"{key}.{name}", f"missing, and the table needs it. Write {name}: {name.split('_')[0]}."
    if task.table is not None:
        yield from _check_table(key, task.table, [*columns.values()])
    if task.test is not None and task.train is None:
        yield f"{key}.test", "has no effect without train. Write train: the pattern of the training tars."
    yield from _check_patterns(key, task)


def _check_patterns(key: str, task: WebDatasetTaskConfig | PairsTaskConfig) -> Findings:
    for name, pattern in (("train", task.train), ("test", task.test)):
        for part in (pattern or "x").split("::"):
            if not is_inside(part):
                yield f"{key}.{name}", f"{part!r} is outside the task's path. Name tars relative to it."


def is_inside(name: str) -> bool:
    """Returns whether a relative path stays below its folder: not absolute, no "..", not the folder itself."""
    plain = posixpath.normpath(name)
    return not plain.startswith("/") and plain.split("/")[0] != ".." and plain != "."
