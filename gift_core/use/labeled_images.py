"""`gift test`: the accuracy of a model on labeled images, its interval, and the confusions; retrieval of captions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.artifacts.task import index_task
from gift_core.config.loading import load_config
from gift_core.datasets.folder_reader import FolderReader, left_out_notes
from gift_core.datasets.spelling import comparison_key, default_class_name, split_of
from gift_core.errors import UserError, did_you_mean, no_such_path, printable
from gift_core.layout import Layout
from gift_core.quantities import first_names
from gift_core.use.class_lists import Classes, ingested_tasks, names_of, read_classes, read_templates
from gift_core.use.predict import BATCH_SIZE, read_image

if TYPE_CHECKING:
    from gift_core.artifacts.predictions import Recalls
    from gift_core.clip.model import Clip
    from gift_core.method.metrics import Score

KNOWN = 0.95  # the share of labeled images that reach TestResult.threshold


@dataclass(frozen=True)
class LabeledImages:
    """Images, the class of each, and how one is read. `notes` say what was left out.

    `task`: the folder of the ingested task whose test images they are.
    """

    label_of: Mapping[Path, str]
    classes: Classes
    read: Callable[[Path], bytes]
    notes: tuple[str, ...] = ()
    task: Path | None = None


def open_labeled_images(source: str, templates: Path | None, layout: Layout) -> LabeledImages:
    """Returns the images of a folder, or of an ingested task by its name or its folder. A folder comes first.

    Templates come from the file `templates`, else from the task; a folder gets "a photo of a {}.".
    UserError if `source` is neither.
    """
    folder = Path(source)
    task = folder if folder.is_dir() else layout.task(source)
    if not (task / "task.json").is_file():
        if not folder.exists():
            known = did_you_mean(source, ingested_tasks(layout))
            raise UserError(f"{no_such_path(folder, 'folder')} It is no ingested task, either. {known}")
        labeled = open_labeled_folder(folder, read_templates(templates))
        return replace(labeled, notes=(*labeled.notes, *_learned_images(folder, labeled, layout)))
    classes = read_classes(str(task / "task.json"), templates, layout)
    images = {Path(str(number)): image for number, image in enumerate(index_task(task, "test"))}
    label_of = {path: classes.names[image.label] for path, image in images.items()}
    return LabeledImages(label_of, classes, lambda path: images[path].read(), task=task)


def _learned_images(folder: Path, labeled: LabeledImages, layout: Layout) -> Iterator[str]:
    """Yields which tasks of the sequence learned some of the images: their raw data are this folder, unsplit."""
    first_parts = {path.relative_to(folder).parts[0] for path in labeled.label_of}
    if "test" in map(split_of, first_parts):
        return
    for raw in sorted(layout.raw("").glob("*/")):
        if raw.resolve() != folder.resolve():
            continue
        if raw.name in {step.task for step in load_config(layout.root / "params.yaml").sequence}:
            remedy = f"Its test images alone: gift test MODEL {raw.name}"
            yield f"most of these images are training images of the task {raw.name}. {remedy}"


def open_labeled_folder(folder: Path, templates: tuple[str, ...]) -> LabeledImages:
    """Returns the images of <folder>/<class>/*, or of <folder>/test/<class>/* where there are splits.

    The name of a class is that of its folder, with spaces for underscores. UserError without images of two classes, and
    where the test split is missing or unclear.
    """
    if not folder.is_dir():
        raise UserError(no_such_path(folder, "folder"))
    reader = FolderReader(folder, str(folder))
    classes = reader.group(reader.images())
    tests = [name for name in classes if split_of(name) == "test"]
    splits = {split_of(name) for name in classes}
    if len(tests) > 1 or (not tests and len(classes) > 1 and "train" in splits and None not in splits):
        named = " and ".join(f"{name}/" for name in tests or classes)
        problem = "are both names of the test split" if tests else "look like splits, not like classes"
        raise UserError(f"{folder}: {named} {problem}. Name the folder of the images to test.")
    for test in tests:
        classes = reader.group(classes[test], test)
    label_of = dict[Path, str]()
    for name, images in classes.items():
        label_of |= dict.fromkeys(sorted(folder / image for image in images), default_class_name(printable(name)))
    names = tuple(dict.fromkeys(label_of.values()))
    notes = left_out_notes(reader.left_out)
    if len(names) < 2:
        problem = " ".join([f"{folder}: it should have images of at least two classes.", *notes])
        raise UserError(f"{problem} Put them into one folder per class: <class>/* or test/<class>/*.")
    return LabeledImages(label_of, Classes(names, templates), read_image, notes)


def retrieve(task: Path, clip: Clip) -> tuple[Recalls, int]:
    """Returns how well the model finds images and captions, as stage evaluate measures it; the number of images.

    `task` is the folder of an ingested task with captions.
    """
    from gift_core.artifacts.predictions import recalls
    from gift_core.clip.images import CacheBudget
    from gift_core.clip.task_tests import test_of
    from gift_core.clip.test_sets import TestSet

    test_set = TestSet(task, batch_size=BATCH_SIZE, cache_budget=CacheBudget(0))
    columns = dict.fromkeys(("method", "protocol", "trained_task", "task"), "")
    return recalls(test_of(clip, test_set).rows({"step": 0, **columns})), len(test_set)


def require_labels(classes: Classes, among: Sequence[Classes], option: str) -> dict[str, str]:
    """Returns {class of the images: the same class in `among`}, which may have another case.

    UserError, which begins with `option`, where `among` lacks one.
    """
    known = {comparison_key(name): name for name in names_of(among)}
    missing = [repr(name) for name in classes.names if comparison_key(name) not in known]
    if missing:
        problem = f"the images are of {first_names(missing)}, and the classes are {first_names(names_of(among))}"
        raise UserError(f"{option}: {problem}. Give the folder of a class its name, or leave {option.split()[0]} out.")
    return {name: known[comparison_key(name)] for name in classes.names}


@dataclass(frozen=True)
class TestResult:
    """The score on all images and on each class, and which classes were taken for others.

    `confusions`: (class, predicted class, number of images), the most frequent first. `threshold`: the similarity of
    image and predicted class that KNOWN of the images reach, rounded down.
    """

    total: Score
    by_class: Mapping[str, Score]
    confusions: tuple[tuple[str, str, int], ...]
    threshold: float


def score(answers: Iterable[tuple[str, str, float]]) -> TestResult:
    """Returns the result of all images: (class, predicted class, its similarity) of each. UserError without any."""
    from gift_core.method.metrics import Score

    answers = list(answers)
    counts = Counter((label, predicted) for label, predicted, _ in answers)
    similarities = sorted(similarity for *_, similarity in answers)
    if not counts:
        raise UserError("None of the images can be read. Give images that an image viewer opens.")
    images = Counter(label for label, *_ in answers)
    by_class = {label: Score(counts[label, label], count) for label, count in images.items()}
    wrong = [(*pair, count) for pair, count in counts.most_common() if pair[0] != pair[1]]
    total = Score(sum(of_class.correct for of_class in by_class.values()), len(answers))
    lowest = similarities[int((1 - KNOWN) * len(similarities))]
    return TestResult(total, by_class, tuple(wrong), math.floor(1000 * lowest) / 1000)
