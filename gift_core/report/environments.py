"""The environments that the results of a run were computed in, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.accuracy import environment_of
from gift_core.artifacts.contract import broken
from gift_core.artifacts.model_folder import read_provenance
from gift_core.artifacts.shards import describe_shards
from gift_core.artifacts.teacher_source import read_source
from gift_core.config.method_options import MethodConfig
from gift_core.layout import Layout
from gift_core.quantities import plural
from gift_core.report.accuracies import Metadata

Environments = Mapping[str, Mapping[str, str | int]]  # by result: "finetune@gift-birds"
MAX_RESULTS_NAMED = 6


@dataclass(frozen=True)
class Difference:
    """A part of the environment that is not the same for all results.

    `results`: the results by value, the most frequent value first.
    """

    name: str
    results: Mapping[str, Sequence[str]]

    @property
    def text(self) -> str:
        """The values in one line: the results of the most frequent one are counted, the others named."""
        (usual, most), *others = self.results.items()
        rest = [f"{value} ({_named(results)})" for value, results in others]
        return f"{usual} ({plural(len(most), 'result')}), {', '.join(rest)}"


def read_environments(
    layout: Layout,
    methods: Mapping[str, MethodConfig],
    tasks: Sequence[str],
    metadata: Metadata,
) -> Environments:
    """Returns the environment of each result that the report stands on. `metadata`: see read_accuracies.

    A result that computes nothing (no replay, nothing learned) has none. ContractError for a damaged record.
    """
    found: dict[str, Mapping[str, str | int]] = {}
    if any(method.replay.images == "synthetic" for method in methods.values()):
        for task in tasks:
            folder = layout.shards(task)
            found[f"synthesize@{task}"] = _recorded(folder, describe_shards(folder), "synthesize")
    for name, method in methods.items():
        for task in tasks:
            teacher, model, result = layout.teacher(name, task), layout.model(name, task), f"{name}-{task}"
            if method.replay.images != "none":
                found[f"teach@{result}"] = _recorded(teacher, read_source(teacher), "teach")
            if method.learns != "nothing":
                found[f"finetune@{result}"] = _recorded(model, read_provenance(model), "finetune")
            found[f"evaluate@{result}"] = environment_of(layout.accuracy(name, task), metadata[name][task])
    return {result: environment for result, environment in found.items() if environment}


def _recorded(folder: Path, record: Mapping[str, Any], stage: str) -> Mapping[str, str | int]:
    found = record.get("environment", {})
    if not isinstance(found, dict):
        raise broken(folder, f"the environment should be an object, it is {found!r}", stage)
    return found


def differences(environments: Environments) -> tuple[Difference, ...]:
    """Returns what is not the same everywhere; empty if all results were computed in one environment."""
    return tuple(Difference(name, results) for name, results in _by_name(environments).items() if len(results) > 1)


def describe(environments: Environments) -> str:
    """Returns what all results have in common, in one line: "torch 2.13.0, ..., threads 1"."""
    values = _by_name(environments)
    return ", ".join(f"{name} {next(iter(results))}" for name, results in values.items() if len(results) == 1)


def _by_name(environments: Environments) -> dict[str, dict[str, list[str]]]:
    """{part: {value: results}}. A result without the part does not count: GPUs have no number of threads."""
    found: dict[str, dict[str, list[str]]] = {}
    for result, environment in environments.items():
        for name, value in environment.items():
            found.setdefault(name, {}).setdefault(str(value), []).append(result)
    return {name: dict(sorted(of.items(), key=lambda item: (-len(item[1]), item[0]))) for name, of in found.items()}


def _named(results: Sequence[str]) -> str:
    rest = len(results) - MAX_RESULTS_NAMED
    return ", ".join(results) if rest <= 1 else f"{', '.join(results[:MAX_RESULTS_NAMED])} and {rest} more"
