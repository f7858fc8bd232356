"""The private parts of DVC that this project stands on. No other module imports any, and each function has a test.

An update of DVC may change them. Then tests/stages/test_private_dvc.py fails, and says which. Other modules import
Repo, lock_repo, Config and DvcException alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def planned(repo: Any, targets: Sequence[str]) -> dict[Any, list[Any]]:
    """Returns the stages in the order of `dvc repro TARGET...`, each with those directly before it.

    Stands on the three functions that DVC's `reproduce` calls.
    """
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    graph = get_active_graph(repo.index.graph)
    known = [] if targets else [stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"]
    stages = known or collect_stages(repo, list(targets) or ["dvc.yaml"])  # which reads dvc.yaml and dvc.lock again
    return {stage: list(graph.successors(stage)) for stage in plan_repro(graph, stages)}


def params_of(stage: Any) -> list[Any]:
    """Returns those dependencies of a stage that are keys of params.yaml. Stands on DVC's class for them."""
    from dvc.dependency.param import ParamsDependency

    return [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]


def read_params(dep: Any) -> Any:
    """Returns the content of the file of such a dependency. Stands on DVC's reader of YAML, JSON, TOML and Python."""
    from dvc.utils.serialize import load_path

    return load_path(dep.fs_path, dep.repo.fs) if dep.exists else {}


def processes_of(stage: Any) -> tuple[tuple[tuple[str, ...], ...], str, dict[str, str]]:
    """Returns the arguments of the processes that DVC would start for a stage, their folder and DVC's variables.

    Stands on how DVC's `cmd_run` hands each line of a command to the user's shell.
    """
    from dvc.env import DVC_ROOT, DVC_STAGE
    from dvc.stage.run import _enforce_cmd_list, _make_cmd, get_executable

    shell = get_executable()
    arguments = tuple(tuple(_make_cmd(shell, line)) for line in _enforce_cmd_list(stage.cmd))
    return arguments, str(stage.wdir), {DVC_ROOT: str(stage.repo.root_dir), DVC_STAGE: stage.addressing}


def restored(stage: Any) -> bool:
    """Restores a stage from the run cache, as DVC's `run_stage` does. Where there is no such run its inputs are hashed.

    Stands on the class of the run cache.
    """
    from dvc.stage.cache import RunCacheNotFoundError

    try:
        stage.repo.stage_cache.restore(stage)
    except RunCacheNotFoundError:
        stage.save_deps()
        return False
    return True


def write_entries(lock: Path, stages: Sequence[Any], last: Sequence[str]) -> None:
    """Writes the entries of stages into a dvc.lock, and moves those of `last` to its end.

    Stands on the form of an entry and DVC's writer of YAML. DVC writes the whole file for each stage.
    """
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(lock) as content:
        content.setdefault("schema", "2.0")
        recorded = content.setdefault("stages", {})
        for stage in stages:
            recorded.update(to_lockfile(stage))
        for name in [name for name in last if name in recorded]:
            recorded[name] = recorded.pop(name)


def running_stages(file: Path) -> list[tuple[int, str]]:
    """Returns (process, command) of what writes outputs now. ValueError for a damaged file.

    Stands on the format of .dvc/tmp/rwlock, DVC's list of running stages.
    """
    try:
        entries = json.loads(file.read_bytes()).get("write", {}).values()
        return [(entry["pid"], entry["cmd"]) for entry in entries]
    except FileNotFoundError:
        return []
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{file}: {error!r}") from error


def fetch_objects(repo: Any, oids: Sequence[str], *, jobs: int, advance: Callable[..., object]) -> list[Exception]:
    """Gets objects from the default remote into the cache, `jobs` at once, and checks the hashes. Returns what failed:
    not those that are absent. `advance` gets numbers of objects, by default 1.

    Stands on the cache's `add`, to which DVC's `fetch` gives one folder after the other.
    """
    from fsspec.callbacks import Callback

    failed: list[Exception] = []
    remote, callback = repo.cloud.get_remote_odb(), Callback()
    callback.relative_update = advance
    repo.cache.local.add(
        [remote.oid_to_path(oid) for oid in oids], remote.fs, oids, verify=True, check_exists=False, batch_size=jobs,
        on_error=lambda oid, error: failed.append(error), callback=callback,
    )  # fmt: skip
    return [error for error in failed if not isinstance(error, FileNotFoundError)]


def copy_run_cache(repo: Any, *, from_remote: bool, jobs: int) -> None:
    """Copies the entries of the run cache that the other side lacks, `jobs` at once.

    Stands on the folder of the run cache. DVC's `--run-cache` copies all entries, one after the other.
    """
    from dvc_objects.fs.generic import copy

    remote = repo.cloud.get_remote_odb(hash_name="md5-dos2unix")  # DVC keeps them in its older cache
    source, target = (remote, repo.cache.legacy) if from_remote else (repo.cache.legacy, remote)

    def entries(side: Any) -> set[tuple[str, ...]]:
        folder = side.fs.join(side.path, "runs")
        return {side.fs.parts(path)[-3:] for path in side.fs.find(folder)} if side.fs.exists(folder) else set()

    new = sorted(entries(source) - entries(target))
    if new:
        paths = [[side.fs.join(side.path, "runs", *entry) for entry in new] for side in (source, target)]
        copy(source.fs, paths[0], target.fs, paths[1], batch_size=jobs)


def md5_of(path: Path | str, *file_system: Any) -> str:
    """Returns the MD5 of a file in hexadecimal digits, empty without a file. `file_system`: DVC's.

    Stands on the function that names objects.
    """
    from dvc_data.hashfile.hash import file_md5

    with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return str(file_md5(str(path), *file_system))
    return ""


@contextmanager
def logged_failures() -> Iterator[list[Any]]:
    """Yields a list that gets the error of each object that DVC cannot transfer within the block.

    Stands on what DVC logs: its `push` and `pull` raise a number of files.
    """
    errors, log = list[Any](), logging.getLogger("dvc_data.hashfile.transfer")

    def note(record: logging.LogRecord) -> bool:
        errors.extend(record.exc_info[1:2] if record.exc_info else ())
        return True

    log.addFilter(note)
    try:
        yield errors
    finally:
        log.removeFilter(note)
