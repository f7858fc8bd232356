"""How each stage begins and ends: it reads the experiment, is checked, and notes how long it took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gift_core.errors import lookup
from gift_core.layout import Layout
from gift_core.progress import seconds, watched
from gift_core.work.measuring import loop_notes, peak_memory

from .options import params_of
from .stage import Stage, explained, logged_to


@contextmanager
def open_stage(
    stage: str, params: Path, root: Path, *, method: str | None = None, task: str | None = None
) -> Iterator[Stage]:
    """Reads the experiment, checks names and inputs, yields the stage, and writes what it measured to .gift/timings.

    Under DVC, it also refuses code that is not what `check` saw, and settings that changed meanwhile: DVC would record
    the result as that of the other ones.

    Where memory is insufficient within the block, or the operating system refuses something, raises a UserError that
    says what to change (gift_core.work.os_errors). Commands import slow modules inside the block, so that a wrong name
    is reported at once.
    """
    from gift_core.config.loading import parse_config, read_settings

    from .dvc.guards import require_checked_code, require_same_settings

    started = seconds()
    params = params_of(params, root)
    settings = read_settings(params)
    opened = Stage(stage, parse_config(settings, params.name), Layout(root), method or "", task or "")
    if method is not None:
        lookup(opened.config.methods, method, "params.yaml: methods")
    if task is not None:
        lookup(opened.config.tasks, task, "params.yaml: tasks")
    with watched() as counts:
        try:
            with logged_to(opened.say), explained(opened):
                require_checked_code(opened)
                yield opened
        except Exception as error:
            if opened.config.rehearsal is not None:  # `gift rehearse` says what failed
                _note(opened, {"error": str(error) or type(error).__name__})
            raise
    require_same_settings(opened, params, settings.encode())
    took = round(seconds() - started, 2)
    _note(opened, {"seconds": took, "loops": loop_notes(counts), "peak_bytes": peak_memory(), **opened.noted})


def _note(opened: Stage, measured: dict[str, Any]) -> None:
    """Writes what the stage measured of itself. A stage that has finished does not fail because of it."""
    from gift_core.artifacts.contract import write_json

    names = {"stage": opened.stage, "method": opened.method, "task": opened.task}
    with suppress(OSError):
        write_json(opened.layout.timing(opened.stage, opened.method, opened.task), names | measured)
