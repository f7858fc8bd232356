"""Checks that the local files of the quality filters exist: generator.filters of params.yaml."""

from __future__ import annotations

from collections.abc import Iterator

from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.operations import FILE, FOLDER


def check_filters(project: Project) -> Iterator[Finding]:
    """Yields a problem for each local model of the filters that is missing. Those of the hub are not looked up."""
    from gift_core.generators.pretrained import looks_local

    filters = project.config.generator.filters
    if filters is None:
        return
    local = {}
    if filters.scorer and filters.scorer.name.startswith((FOLDER, FILE)):
        local["scorer.name"] = filters.scorer.name.partition(":")[2]
    if filters.aesthetic:
        local["aesthetic.head"] = filters.aesthetic.head
    if filters.safety_checker and looks_local(filters.safety_checker):
        local["safety_checker"] = filters.safety_checker
    for key, path in local.items():
        if not (project.root / path).exists():
            name = f"generator.filters.{key}"
            yield Finding(name, "fail", f"there is no {path}", "Correct the path, or put the model there.")
