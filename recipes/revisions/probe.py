"""Runs small experiments with the verified code and with the new one, stage by stage on the same inputs.

Each stage is a process that is forked from one that has loaded the libraries. It runs on the CPU with one thread. The
processes of the new code note which of its functions ran (tracing.py).
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

from gift_core.code.fingerprint import PACKAGES, VERIFIED, CodeBase
from gift_core.code.revisions import verified_content
from gift_core.config.loading import parse_config
from gift_core.errors import UserError
from recipes.revisions import tracing
from recipes.revisions.experiments import Experiment
from stages.dvc.fork_server import PRELOADED, SOCKET

LANES = min(os.cpu_count() or 1, 8)  # methods that run at the same time
SECONDS = 300.0  # after which a stage is ended
PRESET = Path("presets", "mini.yaml")
OF_METHODS = ("teach", "finetune", "evaluate")
TRACING = Path(__file__).with_name("tracing.py")
# Where an interrupted stage ends: at the n-th call of a function. It then has something to continue from.
INTERRUPTED_AT = {
    "synthesize": ("gift_core/artifacts/shards.py", "write_shard", 2),
    **dict.fromkeys(OF_METHODS, ("gift_core/work/units.py", "write_state", 2)),
}
Function = tuple[str, int]  # a file of our code, and the line where the function or its first decorator begins


@dataclass(frozen=True)
class Instance:
    """A stage of an experiment: its command, its outputs, and the task or method whose code it runs."""

    stage: str
    owner: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.stage, *self.arguments))


@dataclass(frozen=True)
class Outcome:
    """What a stage did with the new code: in what it differs (empty if in nothing), and the functions that ran.

    `is_new`: the verified code refuses this stage, so nobody has results of it.
    """

    instance: Instance
    difference: str
    ran: frozenset[Function] = field(repr=False)
    is_new: bool = False


def instances(pipeline: Path, params: Mapping[str, Any]) -> Iterator[Instance]:
    """Yields the stages of a dvc.yaml, except check, in an order in which they can run."""
    blocks = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"]
    yield _instance("import_model", blocks, {})
    yield from (_instance("ingest", blocks, {"key": task}) for task in params["tasks"])
    yield from (_instance("probe", blocks, {"item": task}) for task in params["evaluation"]["probes"])
    yield _instance("write_vocabulary", blocks, {})
    for step in params["sequence"]:
        values = {f"item.{key}": str(value) for key, value in step.items()}
        yield from (_instance(name, blocks, values) for name in ("write_prompts", "synthesize"))
    for method in params["run"]["methods"]:
        for step in params["sequence"]:
            values = {"item.method": method, **{f"item.step.{key}": str(value) for key, value in step.items()}}
            yield from (_instance(name, blocks, values) for name in OF_METHODS)
    yield _instance("report", blocks, {})


def _instance(stage: str, blocks: Mapping[str, Any], values: Mapping[str, str]) -> Instance:
    def filled(text: str) -> str:
        return re.sub(r"\$\{([^}]*)\}", lambda found: values[found[1]], text)

    block = blocks[stage].get("do", blocks[stage])
    listed = [*block["outs"], *block.get("metrics", ())]
    outputs = [filled(next(iter(each)) if isinstance(each, dict) else each) for each in listed]
    arguments = filled(block["cmd"]).replace("'", "").split()[4:]  # python -m stages STAGE ...
    return Instance(stage, values.get("item.method") or values.get("key") or "", tuple(arguments), tuple(outputs))


class Probe:
    """Runs experiments below `folder` with the code in `new`, and with that in `old` where there is one."""

    def __init__(self, folder: Path, new: Path, old: Path | None = None) -> None:
        self._folder, self._root, self._data = folder, new, old or new
        self._new = _as_verified(new, folder / "new")
        self._old = _as_verified(old, folder / "verified") if old else None
        os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
        os.environ.pop(SOCKET, None)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        (folder / "tracing").mkdir()
        shutil.copy(TRACING, folder / "tracing" / "sitecustomize.py")  # for processes that a stage starts

    def run(self, experiment: Experiment, is_wanted: Callable[[Instance], bool]) -> Iterator[Outcome]:
        """Yields the outcome of each stage that is wanted. The others run where they make its inputs.

        There is a project for each version of the code. Both have the outputs of the verified code, so that each stage
        has the same inputs. Without verified code nothing is compared. Several methods run at the same time.
        """
        new, old = self._projects(experiment)
        params = yaml.safe_load((new / "params.yaml").read_text(encoding="utf-8"))
        every = list(instances(new / "dvc.yaml", params))
        wanted = {instance for instance in every if is_wanted(instance)}
        needs_all = any(instance.stage == "report" for instance in wanted)
        owners = [name for name in params["run"]["methods"] if needs_all or any(each.owner == name for each in wanted)]
        resumed = {  # of each kind the last one of the first method that replays pairs
            [each for each in every if each.stage == stage and each.owner in ("", "gift")][-1]
            for stage in INTERRUPTED_AT
        }

        def run_all(chosen: list[Instance]) -> Iterator[Outcome]:
            outcomes = (self._outcome(new, old, each, each in wanted, each in resumed) for each in chosen)
            return (outcome for outcome in outcomes if outcome is not None)

        if not wanted:
            return
        yield from run_all([each for each in every if each.stage not in (*OF_METHODS, "report")])
        of_methods = [  # only the report reads what evaluate writes
            [each for each in every if each.owner == name and (each.stage != "evaluate" or each in wanted or needs_all)]
            for name in owners
        ]
        with ThreadPoolExecutor(LANES) as lanes:
            for outcomes in lanes.map(lambda chosen: [*run_all(chosen)], of_methods):
                yield from outcomes
        yield from run_all(every[-1:] if needs_all else [])

    def _outcome(self, new: Path, old: Path, instance: Instance, is_wanted: bool, resume: bool) -> Outcome | None:
        """Runs a stage, with the new code where it is wanted or where the verified code cannot make the outputs."""
        log = self._folder / "logs" / new.name / f"{'-'.join((instance.stage, *instance.arguments[:2]))}.txt"
        verified = self._start(self._old, old, instance, log.with_suffix(".verified")) if self._old else None
        failure, refused = "", False
        if is_wanted or not verified:
            failure = self._run_new(new, instance, log, resume=resume and is_wanted)
        if verified and (code := _code_of(verified)):
            if code != 1:
                sys.exit(f"error: {instance}: the verified code ended with {code}. What it printed is beside {log}")
            refused = True  # it does not know the setting, or the new code mends it
            failure = failure if is_wanted else self._run_new(new, instance, log, resume=False)
        if failure and not is_wanted:
            sys.exit(f"error: {instance}: {failure}. What it printed is in {log}")
        difference = failure or (_difference(old, new, instance) if verified else "")
        if verified:
            _copy_outputs(instance, *((new, old) if refused else (old, new)))
        ran = tracing.read(log.with_suffix(".ran"), self._new)
        return Outcome(instance, difference, ran, refused) if is_wanted else None

    def _projects(self, experiment: Experiment) -> tuple[Path, Path]:
        """Makes a project for the new code, and one for the verified code. They have the same inputs."""
        new, old, root = self._folder / experiment.name, self._folder / f"{experiment.name}-verified", self._data
        shutil.copytree(root / "data" / "mini", new / "data" / "mini")
        for folder in ("models", "generators", "prompts", "reference"):
            (new / "data" / "0_raw" / folder).mkdir(parents=True)
        (new / "data" / "6_probes").mkdir()
        shutil.copy(root / "dvc.yaml", new)
        experiment.add_data(new)
        text = experiment.params(root / PRESET)
        shutil.copytree(new, old, symlinks=True)
        (old / "params.yaml").write_text(text, encoding="utf-8")
        try:
            parse_config(text, "params.yaml")
        except UserError:  # the new code needs a key more
            text = experiment.params(self._root / PRESET)
        (new / "params.yaml").write_text(text, encoding="utf-8")
        return new, old

    def _run_new(self, project: Path, instance: Instance, log: Path, *, resume: bool) -> str:
        """Runs the stage with the new code, interrupted once if `resume`. Returns why it failed, or an empty text."""
        ran = log.with_suffix(".ran")
        if resume:
            first = self._start(self._new, project, instance, log.with_suffix(".interrupted"), ran, interrupt=True)
            if (code := _code_of(first)) != tracing.INTERRUPTED:
                return f"it was to be interrupted, but ended with {code}: {_last_line(log.with_suffix('.interrupted'))}"
        code = _code_of(self._start(self._new, project, instance, log, ran))
        return f"it ended with {code}: {_last_line(log)}" if code else ""

    def _start(
        self,
        root: Path,
        project: Path,
        instance: Instance,
        log: Path,
        ran: Path | None = None,
        *,
        interrupt: bool = False,
    ) -> BaseProcess:
        for output in instance.outputs:
            path = project / output
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        at = INTERRUPTED_AT[instance.stage] if interrupt else None
        arguments = (root, [instance.stage, *instance.arguments], project, log, ran, at, self._folder / "tracing")
        process = self._context.Process(target=run_stage, args=arguments)
        process.start()
        return process


def _copy_outputs(instance: Instance, source: Path, other: Path) -> None:
    """Puts hard links to the outputs of a stage into the other project: stages replace files, and write into none."""
    for output in instance.outputs:
        path, target = source / output, other / output
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, copy_function=os.link, symlinks=True)
        elif path.exists():
            os.link(path, target)


def _as_verified(root: Path, copy: Path) -> Path:
    """Copies the code, and records the copy as verified, so that its stages need not parse it."""
    for name in PACKAGES:
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / VERIFIED).write_text(json.dumps(verified_content(CodeBase(copy))), encoding="utf-8")
    return copy


def run_stage(
    root: Path,
    arguments: list[str],
    project: Path,
    log: Path,
    ran: Path | None,
    interrupt_at: tuple[str, str, int] | None,
    site: Path,
) -> None:
    """In a process of its own: runs `gift STAGE ...` with the code in `root`."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(project)
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    sys.argv = ["gift", *arguments]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), str(site)])
    if ran is not None:
        os.environ |= {tracing.ROOT: str(root), tracing.FILE: str(ran)}
    if interrupt_at is not None:
        from gift_core.work import training, units

        training.INTERVAL = units.INTERVAL = 0.0  # something is kept at every opportunity
    tracing.start(interrupt_at)
    from stages.app import main

    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.settrace(None)
        sys.stdout.flush()
    sys.exit(code)


def _code_of(process: BaseProcess) -> int:
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode or 0


def _last_line(log: Path) -> str:
    return (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["(it printed nothing)"])[-1]


def _difference(one: Path, other: Path, instance: Instance) -> str:
    """Names the first output whose bytes differ."""
    for output in instance.outputs:
        before, after = _hashes(one / output), _hashes(other / output)
        if changed := sorted(name for name in {*before, *after} if before.get(name) != after.get(name)):
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            return f"bytes of {'/'.join(filter(None, (output, changed[0])))} differ{more}"
    return ""


def _hashes(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {
        "" if file == path else file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
