"""Runs of an experiment with several seeds, for `gift compare --seeds`.

Each seed has a DVC project of its own in .gift/seeds: its params.yaml and its results, links to the code and the raw
data, and the project's cache. So a stage that does not depend on the seed runs once, and DVC continues a run that was
interrupted.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer
import yaml

from gift_core.errors import UserError, lookup
from gift_core.quantities import duration, plural

from ..command_line import note
from ..stage import PARAMS, require_params
from .interruption import run_to_end

if TYPE_CHECKING:
    from gift_core.config.experiment import Config

SEEDS = Path(".gift", "seeds")
COPIED = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/config.local", "data/6_probes/README.md")
LINKED = ("gift_core", "stages", "data/mini", "data/0_raw")


def run_seeds(text: str, params: Path, *, methods: Sequence[str] | None, against: str | None) -> list[Path]:
    """Runs the methods of a params file with each seed, one after another. Returns the folders with the results.

    `text` is the number of seeds, from that of the params file on, or their list: 3, or 4,5,6. The seed of params.yaml
    runs in the project itself. UserError where a stage fails, and before any runs for a name that is unknown.
    """
    from gift_core.config.checks import require_task
    from gift_core.config.loading import parse_config
    from gift_core.config.presets import complete_text
    from gift_core.method.metrics import ZERO_SHOT
    from gift_core.untrusted import parse_yaml

    from .fork_server import limit_spinning, serving
    from .pipeline import require_free

    require_params(params)
    complete = complete_text(params)
    config = parse_config(complete, params.name)
    require_task(config, params.name)
    known = {name: name for name in config.run.methods}
    names = [lookup(known, name, "--methods") for name in methods or known]
    if against is not None:
        lookup(dict.fromkeys((ZERO_SHOT, *names)), against, "--against")
    seeds, values, roots = seeds_of(text, config.seed), parse_yaml(complete), dict[int, Path]()
    for seed in seeds:
        if seed == config.seed and params == PARAMS:
            roots[seed] = Path()
            continue
        own = values | {"seed": seed, "generator": values["generator"] | {"seed": seed}}
        roots[seed] = SEEDS / str(seed)
        _write_project(roots[seed], yaml.safe_dump(own, sort_keys=False), config)
    note(f"{plural(len(names), 'method')}, {plural(len(seeds), 'seed')}: {', '.join(map(str, seeds))}")
    targets = [f"evaluate@{name}-step{len(config.sequence) - 1}" for name in names]
    limit_spinning(os.environ)
    with serving(os.environ) as environment:
        for number, (seed, root) in enumerate(roots.items(), 1):
            started = time.monotonic()
            note(f"seed {seed} ({number} of {len(roots)}), in {root.resolve()}")
            require_free(root)
            command = [sys.executable, "-m", "dvc", "repro", *targets]
            if run_to_end(command, folder=root, environment=environment) != 0:
                what = f"the run in {root.resolve()} failed, its message is above"
                raise UserError(f"gift compare: {what}. Correct the cause, and run this again: it continues from here.")
            note(f"seed {seed}: {duration(time.monotonic() - started)}")
    return list(roots.values())


def seeds_of(text: str, first: int) -> tuple[int, ...]:
    """Returns the seeds that `3` (from `first` on) or the list `4,5,6` stands for. BadParameter for other texts."""
    numbers = text.removesuffix(",").split(",")
    if not all(re.fullmatch(r"[0-9]{1,18}", number) for number in numbers) or text == "0":
        raise typer.BadParameter(f"--seeds {text}: expected how many, such as 3, or a list, such as 4,5,6.")
    return tuple(map(int, dict.fromkeys(numbers))) if "," in text else tuple(range(first, first + int(text)))


def _write_project(root: Path, params: str, config: Config) -> None:
    """Makes the folder a DVC project like this one, with other settings. What has been run in it stays."""
    from dvc.config import Config as DvcConfig
    from dvc.repo import Repo

    from .store import dvc_errors

    for name in (file for file in COPIED if Path(file).is_file()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, root / name)
    for name in (*LINKED, *(task.path for task in config.tasks.values())):
        if Path(name).exists() and not (root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(os.path.relpath(name, (root / name).parent))
    (root / PARAMS).write_text(params, encoding="utf-8")
    with dvc_errors(), closing(Repo()) as project:
        cache = project.cache.local_cache_dir
        with DvcConfig(str((root / ".dvc").resolve())).edit("local") as settings:
            settings["core"]["no_scm"] = True
            settings["cache"]["dir"] = str(cache)
