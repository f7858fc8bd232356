"""A row of params.yaml's methods in words, a phrase for each slot that is not empty."""

from __future__ import annotations

from collections.abc import Iterator

from gift_core.config.methods import (
    ConsolidationConfig,
    ExemplarReplayConfig,
    FisherConfig,
    MethodConfig,
    PairedReplay,
    RandomTextsConfig,
    ReferenceReplayConfig,
    ReplayConfig,
    TaskReplayConfig,
    TaughtReplay,
)

TEACHERS = {"previous": "the model before the task", "initial": "the pre-trained model"}


def in_words(method: MethodConfig) -> str:
    """What the method starts from, learns, replays, adds, is anchored by, and keeps."""
    return ", ".join(_phrases(method))


def _phrases(method: MethodConfig) -> Iterator[str]:
    if method.learning_rate is None:
        yield "learns nothing: the pre-trained model"
        return
    yield f"rate {method.learning_rate:g}"
    if method.start == "pretrained":
        yield "every step from the pre-trained model"
    if method.learns == "seen":
        yield "on all tasks seen so far"
    if isinstance(method.replay, TaughtReplay):
        yield f"{_replayed(method.replay)} (teacher: {_teacher(method.replay)})"
    if isinstance(method.replay, PairedReplay) and method.replay.fisher is not None:
        yield _fisher(method.replay.fisher)
    for name, term in method.losses.items():
        yield f"{name} {term.weight:g}"
    if method.consolidation.kind != "none":
        yield _anchor(method.consolidation)
    if method.average is not None:
        yield f"keeps the mean of the weights every {method.average.every:,} steps"
    if method.merge is not None:
        yield f"keeps {method.merge.alpha:g} new + {1 - method.merge.alpha:g} old weights"


def _replayed(replay: ReplayConfig) -> str:
    if isinstance(replay, ReferenceReplayConfig):
        return f"pairs of {replay.folder}"
    if isinstance(replay, ExemplarReplayConfig):
        return f"{replay.memory:,} exemplars"
    if isinstance(replay, TaskReplayConfig):
        return f"the task's images against {_texts(replay)}"
    return "synthetic pairs"


def _texts(replay: TaskReplayConfig) -> str:
    texts = replay.texts
    if isinstance(texts, RandomTextsConfig):
        return f"{texts.count:,} random texts of {texts.length} tokens"
    return "its class prompts"


def _teacher(replay: TaughtReplay) -> str:
    if replay.teacher == "mix":
        return f"a mix, {replay.teacher_alpha:g} of the model before the task"
    return TEACHERS[replay.teacher]


def _fisher(fisher: FisherConfig) -> str:
    estimated = "per sample" if fisher.estimator == "per_sample" else "per batch"
    return f"Fisher information {estimated}" + (", earlier steps added" if fisher.accumulate else "")


def _anchor(anchor: ConsolidationConfig) -> str:
    """Kind, weight, and the anchor's own options by their names in params.yaml."""
    options = anchor.model_dump(mode="json")
    kind, weight = options.pop("kind"), options.pop("weight")
    named = ", ".join(f"{name}: {str(value).lower()}" for name, value in options.items())
    return f"anchor {kind} {weight:g}" + (f" ({named})" if named else "")
