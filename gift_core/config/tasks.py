"""A row of the section tasks in params.yaml: where a data set comes from. The pipeline watches `path` for changes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag

from gift_core.config.section import ONE_LINE, Count, Section, Templates, Text

Captions = Annotated[int, Field(ge=2, le=1_000_000)]
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
# Where the pipeline writes, and the folders above.
MADE = re.compile(r"data|(data/([1-9]_[^/]*|code)|reports|\.gift)(/.*)?")


def is_inside(name: str) -> bool:
    """Returns whether a relative path stays below its folder: not absolute, no "..", not the folder itself."""
    plain = posixpath.normpath(name)
    return not plain.startswith("/") and plain.split("/")[0] != ".." and plain != "."


def _data_folder(path: str) -> str:
    plain = posixpath.normpath(path)
    if "://" in path or "${" in path:
        raise ValueError(f"{path} is no folder to DVC. Copy the data to data/0_raw/<name>.")
    if plain.startswith(("/", "~")) or plain.split("/")[0] == ".." or path[1:2] == ":":
        problem = f"{path} is outside the project, so it would not be found on other machines"
        raise ValueError(f"{problem}. Link it: ln -s <the folder> data/0_raw/<name> (or copy it), and write that path.")
    if plain == "." or MADE.fullmatch(plain):
        raise ValueError(f"{path} is where the pipeline writes. Use a folder of data/0_raw.")
    return path


def _inside(names: str) -> str:
    for name in names.split("::"):
        if not is_inside(name):
            raise ValueError(f"{name!r} is outside the task's path, which is watched for changes. Put it there.")
    return names


def _table(name: str) -> str:
    if not name.lower().endswith(TABLES):
        raise ValueError(f"{name} is not a supported table. Save it as one of {', '.join(TABLES)}.")
    return _inside(name)


def _extension(label: str) -> str:
    if label == "json:" or label.startswith("."):
        problem = f"{label} is no extension, nor a key of a JSON file"
        raise ValueError(f"{problem}. Write the extension of the label's file, cls, or json:<key>.")
    return label


DataFolder = Annotated[Text, AfterValidator(_data_folder)]
File = Annotated[Text, AfterValidator(_inside)]
Files = Annotated[str, Field(min_length=1, max_length=10_000, pattern=ONE_LINE), AfterValidator(_inside)]  # a::b
Table = Annotated[Text, AfterValidator(_table)]
ClassNames = Annotated[
    Annotated[File, Tag("text")] | Annotated[dict[str, Text], Tag("section")],
    Discriminator(lambda value: "section" if isinstance(value, dict) else "text"),
]
COMMIT = r"^[0-9a-f]{40}$"
Commit = Annotated[str, Field(pattern=COMMIT)]
COLUMNS = ("image_column", "caption_column", "split_column")
COPIES = "What to do with copies (the same bytes), and with test images that are also in training: keep."
SHARE = "The share of each class for testing, if the data has no splits: 0.2."
VOCABULARY = "How many training captions join the vocabulary of prompts: 200."
TEMPLATE = "A prompt with {} for the class name. Repeat it for several."
HubSplits = Annotated[dict[Literal["train", "test", "validation"], Text], Field(min_length=1)]


@dataclass(frozen=True)
class Asked:
    """How `gift add-task` asks for a key of a row: the option `name`, if it is not the key, and its text.

    `new` is the value that a new row has without the option, `type` what Python reads of the command line. A `metavar`
    FILE is a file in the folder of the images.
    """

    metavar: str
    help: str
    new: Any = None
    name: str = ""
    type: Any = str


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

    `asked`: the keys that are options of `gift add-task`. `panel`: their title in its help. `chosen_by`: the one of
    them that chooses the source.
    """

    asked: ClassVar[dict[str, Asked]] = {
        "test_fraction": Asked("SHARE", SHARE, type=float),
        "on_bad_image": Asked("refuse|skip", "What to do with an undecodable image: refuse.", "refuse"),
        "on_duplicate": Asked("keep|skip", COPIES),
    }
    panel: ClassVar[str | None] = None
    chosen_by: ClassVar[str | None] = None
    path: DataFolder
    test_fraction: Annotated[float, Field(ge=1e-6, lt=1)] | None = None
    on_duplicate: Literal["keep", "skip"] | None = None
    on_bad_image: Literal["refuse", "skip"]


class UserTaskConfig(UserDataConfig):
    """The keys that all of a user's own data sets with classes have.

    `templates`: training uses the first one, testing averages over all. `class_names`: null (as they are in the data),
    a text file in `path` with one name per line in the order of the labels, or a mapping from labels to names. `shots`:
    the number of training images per class, sampled by seed; null for all.
    """

    asked: ClassVar[dict[str, Asked]] = {
        "templates": Asked("TEMPLATE", TEMPLATE, ["a photo of a {}."], "--template", list[str]),
        "class_names": Asked("FILE", "A text file in the folder with one name per line, in label order."),
        "shots": Asked("N", "The number of training images per class, sampled by seed.", type=int),
    }
    templates: Templates
    class_names: ClassNames | None = None
    shots: Count | None = None


class FolderTaskConfig(UserTaskConfig):
    """A folder of images with one sub-folder per class: path/{train,test}/<class>/*, or path/<class>/*."""

    source: Literal["folder"]


class TableTaskConfig(UserTaskConfig):
    """A CSV, JSONL or Parquet file in `path` with one row per image. The paths of the image files are relative to it.

    `split_column` holds "train" and "test"; rows of a validation split are left out. null: the split is made by seed.
    """

    asked: ClassVar[dict[str, Asked]] = {
        "table": Asked("FILE", "A CSV, JSONL or Parquet file in the folder, one row per image."),
        "image_column": Asked("COLUMN", "The column of files, relative to the folder: image.", "image"),
        "label_column": Asked("COLUMN", "The column of labels, numbers or names: label.", "label"),
        "split_column": Asked("COLUMN", "The column with train or test: the one with such values."),
    }
    panel = "Images listed in a table"
    chosen_by = "table"
    source: Literal["table"]
    table: Table
    image_column: Text
    label_column: Text
    split_column: Text | None = None


class WebDatasetTaskConfig(UserTaskConfig):
    """WebDataset tars in `path`, given by shell patterns relative to it. `test` null: the split is made by seed.

    `label` is the extension that holds a sample's label: a number, a name, or with "json:<key>" a key of its JSON.
    """

    asked: ClassVar[dict[str, Asked]] = {
        "train": Asked("PATTERN", "Training tars: birds-{000..005}.tar, train/*.tar.", name="--webdataset"),
        "test": Asked("PATTERN", "Test tars. Without them: split by seed.", name="--webdataset-test"),
        "label": Asked("EXTENSION", "The extension of a sample's label: cls; or json:<key>.", "cls"),
    }
    panel = "Images in WebDataset tars"
    chosen_by = "train"
    source: Literal["webdataset"]
    train: Files
    test: Files | None = None
    label: Annotated[Text, AfterValidator(_extension)]


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

    asked: ClassVar[dict[str, Asked]] = {
        "caption_column": Asked("COLUMN", "The table's column of captions: caption. A row for each."),
        "vocabulary_captions": Asked("N", VOCABULARY, 200, type=int),
    }
    panel = "Images with captions"
    source: Literal["pairs"]
    vocabulary_captions: Captions
    table: Table | None = None
    image_column: Text | None = None
    caption_column: Text | None = None
    split_column: Text | None = None
    train: Files | None = None
    test: Files | None = None
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
    path: DataFolder
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


def asked_of(row: type[UserDataConfig]) -> dict[str, Asked]:
    """Returns the keys of a kind of row that `gift add-task` asks for, its own ones first."""
    return {key: asked for part in row.__mro__ for key, asked in vars(part).get("asked", {}).items()}


def user_rows() -> dict[str, type[UserDataConfig]]:
    """Returns the kinds of rows of a user's own data sets, by source."""
    rows = [row for row in get_args(get_args(TaskConfig)[0]) if issubclass(row, UserDataConfig)]
    return {get_args(row.model_fields["source"].annotation)[0]: row for row in rows}


def has_captions(task: TaskConfig) -> bool:
    """Returns whether the task has image-caption pairs, and no classes."""
    return getattr(task, "vocabulary_captions", None) is not None


def check_tasks(tasks: Mapping[str, TaskConfig]) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, "what is wrong. Remedy") for keys of a row that do not fit each other."""
    for name, task in tasks.items():
        key = f"tasks.{name}"
        columns = [getattr(task, column, None) for column in (*COLUMNS, "label_column")]
        named = [column for column in columns if column is not None]
        if len(set(named)) < len(named):
            yield key, f"a column is named twice: {', '.join(named)}. Name different columns."
        if isinstance(task, CatalogueTaskConfig) and has_captions(task):
            for option in ("templates", "shots", "classes"):
                if getattr(task, option) is not None:
                    yield f"{key}.{option}", "has no effect on a data set with captions. Remove it."
        if isinstance(task, PairsTaskConfig):
            if task.table is not None and task.train is not None:
                yield f"{key}.train", "table is given, too, and a task has one source. Remove one of them."
            if task.repository is not None and task.table is None and task.train is None:
                yield f"{key}.repository", "its files are unknown. Write table: '*.parquet', or train: '*.tar'."
            for option, source in (*((column, "table") for column in COLUMNS), ("test", "train")):
                given = getattr(task, option) is not None
                needed = getattr(task, source) is not None
                if given and not needed:
                    yield f"{key}.{option}", f"has no effect without {source}. Add that, or remove this."
                if needed and not given and option in ("image_column", "caption_column"):
                    yield f"{key}.{option}", f"missing, and the table needs it. Write {option}: {option.split('_')[0]}."
