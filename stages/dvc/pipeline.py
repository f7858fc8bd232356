"""The pipeline as DVC sees it: its graph, which stages are stale, and how a finished one is recorded.

`dvc repro` decides about a stage, runs it and records it before it looks at the next one. Here these are three steps,
so that other stages run in between. Each step does what DVC's Stage.reproduce, Stage.run and run_stage do. Before that,
`require_free` looks at the two files with which DVC locks a project.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from gift_core.errors import UserError
from gift_core.layout import CODE, Layout
from gift_core.untrusted import leaves
from gift_core.work.publishing import write_atomically

from ..command_line import note
from . import private_dvc
from .guards import value_at
from .store import dvc_errors

CHILD_SECONDS = 3.0  # for `dvc repro` to end, of the time in which an interrupted command has to (interruption.py)
STDERR = 2
WRITE_SHARE = 0.1  # of the time, for dvc.lock
Verdict = Literal["unchanged", "restored", "run"]  # restored from the run cache, it still has to be recorded


@dataclass(frozen=True)
class Changes:
    """What is different from the time when DVC recorded a stage.

    `params` are keys with their old and new values, `deps` and `outs` paths with DVC's word for them, `code` the files
    in data/code that the stage depends on.
    """

    is_new: bool
    command: bool
    params: Mapping[str, tuple[Any, Any]]
    deps: Mapping[str, str]
    outs: Mapping[str, str]
    code: frozenset[str]
    recorded: Callable[[str, Any], Any]  # of a path in `code` and its content now: that of then, None where it is lost


class DvcPipeline:
    """The stages that `dvc repro TARGET...` would go through, within dvc_errors: open_pipeline makes one."""

    def __init__(self, repo: Any, targets: Sequence[str]) -> None:
        self._repo = repo
        planned = private_dvc.planned(repo, targets)
        self._stages: dict[str, Any] = {stage.addressing: stage for stage in planned}
        commands = [stage for stage in planned if stage.cmd]
        self._new = [stage for stage in commands if not any(out.hash_info for out in stage.outs)]
        self._params: dict[str, Any] = {}
        self._unwritten: list[Any] = []  # stages that are recorded, but not in dvc.lock
        self._next_write = 0.0
        self.upstream: dict[str, list[str]] = {}
        for stage, before in planned.items():
            self.upstream[stage.addressing] = [earlier.addressing for earlier in before]

    @property
    def has_remote(self) -> bool:
        """Whether results are shared through a default remote."""
        return bool(self._repo.config["core"].get("remote"))

    def may_run(self) -> list[str]:
        """Returns the stages that are stale and those after them, which `dvc repro` may have to run.

        DVC's own `changed` needs its lock.
        """
        stale: dict[str, None] = {}
        for name, before in self.upstream.items():  # DVC has these in front of the stage
            stage = self._stages[name]
            deps = () if stage.frozen else stage.deps
            always = not stage.frozen and (stage.is_callback or stage.always_changed)
            follows = always or not stale.keys().isdisjoint(before)
            if follows or stage.changed_stage() or any(entry.status() for entry in (*deps, *stage.outs)):
                stale[name] = None
        return list(stale)

    def changes(self, name: str) -> Changes:
        """Returns what is different since the stage was recorded, without looking at the stages before it."""
        stage = self._stages[name]
        params = private_dvc.params_of(stage)
        files = [dep for dep in stage.deps if dep not in params]
        code = {self._path(dep): dep for dep in files if self._path(dep).startswith(CODE)}
        inputs = {self._path(dep): word for dep in files for word in dep.status().values()}
        return Changes(
            stage in self._new,
            bool(stage.cmd) and stage.changed_stage(),
            {key: values for dep in params for key, values in self._changed_params(dep)},
            {path: word for path, word in inputs.items() if path not in code},
            {self._path(out): word for out in stage.outs for word in out.status().values()},
            frozenset(code),
            lambda path, now: self._recorded(code[path], now),
        )

    def _changed_params(self, dep: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
        """Yields the keys of a params file that differ, down to single values, with their old and new values.

        DVC would read the file again for each stage.
        """
        if dep.fs_path not in self._params:
            self._params[dep.fs_path] = private_dvc.read_params(dep)
        recorded = dep.hash_info.value or {}
        before = dict(leaf for key, value in recorded.items() for leaf in leaves(value, key))
        now = {key: value_at(self._params[dep.fs_path], key) for key in dep.params or recorded}
        after = dict(leaf for key, value in now.items() for leaf in leaves(value, key))
        for key in sorted({*before, *after}):
            if before.get(key) != after.get(key):
                yield key, (before.get(key), after.get(key))

    def _path(self, entry: Any) -> str:
        """The path of a dependency or an output, below the root of the project. Of one outside its whole address."""
        path, root = Path(entry.fs_path), self._repo.root_dir
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(entry)

    def _recorded(self, dep: Any, now: Any) -> Any:
        """The content of a JSON file when the stage ran: `now`, of the workspace or DVC's cache; None if it is lost."""
        digest = str(dep.hash_info.value or "")
        texts = [f"{json.dumps(now, indent=2, ensure_ascii=False)}\n".encode()]  # as write_json does
        for path in (dep.fs_path, self._repo.cache.local.oid_to_path(digest) if digest else ""):
            with suppress(OSError):
                texts.append(Path(path).read_bytes())
        whole = (text for text in texts if hashlib.md5(text, usedforsecurity=False).hexdigest() == digest)
        return next(map(json.loads, whole), None)

    def writers(self) -> dict[str, str]:
        """Returns {path of an output: the stage that writes it}."""
        return {self._path(out): name for name, stage in self._stages.items() for out in stage.outs if stage.cmd}

    def recorded_bytes(self, names: Sequence[str]) -> int:
        """Returns the size of the outputs of stages, as dvc.lock has it."""
        return sum(out.meta.size or 0 for name in names for out in self._stages[name].outs)

    def missing(self, name: str) -> list[str]:
        """Returns what a stage depends on and is not there, for which DVC would not run it."""
        return [self._path(dep) for dep in self._stages[name].deps if not dep.exists]

    def timing(self, name: str) -> Path | None:
        """Returns the file with the run time of a stage (stages/open_stage.py), None for a command that writes none.

        `python -m stages finetune 'gift' 'digits' --learning-rate-factor '1.0'` -> timings/finetune/gift-digits.json
        """
        words = iter([word.strip("'\"") for word in self.command(name).split()])
        if not any(word in ("stages", "gift") for word in words):  # the rest of `words` comes after it
            return None
        stage = next(words, "")
        names = itertools.takewhile(lambda word: not word.startswith("-"), words)
        return Layout(Path().absolute()).timing(stage, *names)

    def expected_seconds(self) -> dict[str, float]:
        """How long each stage took when it ran last, or what stages of its block took, without those nobody knows."""
        known, of_block = dict[str, float](), defaultdict[str, list[float]](list)
        for name in self.upstream:
            file = self.timing(name) or Path()
            with suppress(OSError, ValueError, KeyError, TypeError):  # none, or one that is damaged
                known[name] = float(json.loads(file.read_bytes())["seconds"])
                of_block[name.partition("@")[0]].append(known[name])
        means = {block: fmean(seconds) for block, seconds in of_block.items()}
        blocks = {name: name.partition("@")[0] for name in self.upstream}
        return {name: known.get(name, means[block]) for name, block in blocks.items() if block in means}

    def begin(self, name: str, *, force: bool) -> Verdict:
        """Decides about a stage whose upstream stages are recorded. Where it has to run, its outputs are removed."""
        stage = self._stages[name]
        with dvc_errors():
            if not stage.cmd or stage.frozen:
                if stage.reproduce(force=force):
                    stage.dump(update_pipeline=False)
                return "unchanged"  # raw data, imports and frozen stages: DVC has done and recorded it
            if not force and not stage.changed():
                return "unchanged"
            self.remove_outputs(name)
            if force or not private_dvc.restored(stage):
                return "run"
            return "restored"

    def remove_outputs(self, name: str) -> None:
        """Removes the outputs of a stage before it runs, those with `persist: true` excepted."""
        self._stages[name].remove_outs(ignore_remove=False, force=False)

    def record(self, name: str) -> None:
        """Moves the outputs of a finished stage into the cache, and its run into the run cache.

        The run cache restores a stage that a kill keeps out of dvc.lock.
        """
        stage = self._stages[name]
        with dvc_errors():
            stage.save(run_cache=all(out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot)))
            stage.commit()
        self._unwritten.append(stage)

    def write_lock(self, *, now: bool = False) -> None:
        """Writes the recorded stages to dvc.lock, the new ones in the order of `dvc repro`.

        That is the whole file each time, so it takes at most WRITE_SHARE of the time, except `now`.
        """
        started = time.monotonic()
        if not self._unwritten or not (now or started >= self._next_write):
            return
        for path in {stage.path: None for stage in self._unwritten}:
            lock = Path(path).with_suffix(".lock")
            with write_atomically(lock) as temporary:
                if lock.is_file():
                    shutil.copyfile(lock, temporary)
                finished = [stage for stage in self._unwritten if stage.path == path]
                new = [stage.name for stage in self._new if stage.path == path]
                private_dvc.write_entries(temporary, finished, new)
            self._repo.scm_context.track_file(os.fspath(lock))
        self._unwritten.clear()
        written = time.monotonic()
        self._next_write = written + (written - started) / WRITE_SHARE

    def command(self, name: str) -> str:
        """Returns the command of a stage, empty where it has none."""
        command = self._stages[name].cmd or ""
        return "\n".join(command) if isinstance(command, list) else str(command)

    def processes(self, name: str) -> tuple[tuple[tuple[str, ...], ...], str, dict[str, str]]:
        """Returns the arguments of the processes that DVC would start for a stage, their folder and DVC's variables."""
        return private_dvc.processes_of(self._stages[name])


@contextmanager
def open_pipeline(targets: Sequence[str] = ()) -> Iterator[DvcPipeline]:
    """Yields the pipeline of the project in the working folder, which no other DVC process can use meanwhile.

    UserError where another one uses it, for an unknown target, and where dvc.yaml cannot be read.
    """
    from dvc.repo import Repo, lock_repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # its bars and lines would come between those of the run
    require_free(Path())
    with dvc_errors(), Repo() as repo, lock_repo(repo), repo.scm_context(quiet=True):
        yield DvcPipeline(repo, targets)


def repro(root: Path, *arguments: str, environment: Mapping[str, str] = os.environ) -> int:
    """Runs `dvc repro` in the project `root`, with its output on stderr, and returns its exit code.

    It ends before this process does. With --keep-going an interrupted DVC would start its next stage, so all child
    processes are killed at once. UserError as in require_free.
    """
    require_free(root)
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    with subprocess.Popen(command, cwd=root, env=environment, stdout=STDERR) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            if "--keep-going" in arguments:
                _kill_children()
            with suppress(subprocess.TimeoutExpired):
                child.wait(CHILD_SECONDS)
            child.kill()
            raise


def _kill_children() -> None:
    """Ends all child processes of this one, and theirs, without a signal that they could answer."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(children, timeout=1)


def require_free(root: Path) -> None:
    """UserError with the process and what to do, if a stage of another process runs in the DVC project that has `root`.

    DVC's own lock is free meanwhile. Its list of running stages, the rwlock, says which outputs are being written.
    """
    import psutil

    folders = (root.absolute(), *root.absolute().parents)
    projects = (folder for folder in folders if (folder / ".dvc" / "config").is_file())
    file = next(projects, root) / ".dvc" / "tmp" / "rwlock"
    try:
        written = private_dvc.running_stages(file)
    except ValueError:
        file.unlink()
        note("DVC's list of running stages, .dvc/tmp/rwlock, was damaged (a second Ctrl-C does that). It was removed.")
        return
    changed = file.stat().st_mtime if written else 0.0
    for process, command in written:
        with suppress(psutil.Error):
            if psutil.Process(process).create_time() <= changed:  # not a later one with the number of a killed one
                problem = f"another process works on this project: `{command}` (process {process})"
                remedy = f"Wait until it has ended, or stop it (kill {process}; finished stages are kept)."
                raise UserError(f"{problem}. {remedy} Then run this again.")
