"""The protocols of evaluation: among which classes a test image is classified, and all that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """A value of evaluation.protocol in params.yaml. In files and in tables of accuracies it is its name.

    Attributes:
        name: as in params.yaml.
        description: a line of the report.
        own_classes: an image is classified among the classes of its own task. Otherwise: of all tasks so far.
        has_matrix: each task has an accuracy of its own. Otherwise a step has one, over the images of all tasks so far,
            and there is neither Transfer nor Forgetting.
        by_task: the numbers of each task in summary.json.
        among: the end of a sentence about accuracies.
        note: a sentence of its own about them.
    """

    name: str
    description: str
    own_classes: bool = False
    has_matrix: bool = True
    by_task: tuple[str, ...] = ("before_percent", "after_percent", "end_percent", "difference_points")
    among: str = ""
    note: str = ""

    @property
    def renews_matrix(self) -> bool:
        """Whether a new task changes every accuracy. Then the tests of a method's newest step count alone."""
        return self.has_matrix and not self.own_classes

    @property
    def in_title(self) -> str:
        """The end of a title of accuracies, such as ", each image among the classes of all tasks"."""
        return f", each image{self.among}" if self.among else ""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """In a model of pydantic a protocol is read from its name, and written as its name."""
        from pydantic_core import core_schema

        as_name = core_schema.plain_serializer_function_ser_schema(attrgetter("name"))
        names = core_schema.literal_schema([*PROTOCOLS])
        return core_schema.no_info_after_validator_function(PROTOCOLS.__getitem__, names, serialization=as_name)


TASK_INCREMENTAL = Protocol(
    "task_incremental",
    "task-incremental: an image is classified among the classes of its own task",
    own_classes=True,
)
CLASS_INCREMENTAL = Protocol(
    "class_incremental",
    "class-incremental: an image is classified among the classes of all tasks so far",
    has_matrix=False,
    by_task=("classes_seen", "zero_shot_percent", "after_percent", "difference_points"),
    among=" among the classes of all tasks so far",
)
CROSS_DOMAIN = Protocol(
    "cross_domain",
    "cross-domain (X-TAIL): an image is classified among the classes of all tasks, learned or not",
    among=" among the classes of all tasks",
    note=" Each image is classified among the classes of all tasks, also of those not trained yet.",
)
PROTOCOLS = {protocol.name: protocol for protocol in (TASK_INCREMENTAL, CLASS_INCREMENTAL, CROSS_DOMAIN)}
