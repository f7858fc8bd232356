"""verify: checks every artifact of the active experiment, and heals broken ones."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.progress import progress

from ..command_line import AsJson, hint, note, print_json
from ..options import PARAMS, ROOT, Params, Root, flag, params_of

if TYPE_CHECKING:
    from gift_core.artifacts.verification import Check

    from ..dvc.store import DvcStore, Output

OK = "ok"
MISSING = "missing"
BROKEN = "broken"
COLORS = {OK: typer.colors.GREEN, MISSING: typer.colors.YELLOW, BROKEN: typer.colors.RED}


@dataclass
class Item:
    """What is checked: an artifact, an output of DVC, or both; its status (OK, MISSING or BROKEN), and its faults."""

    path: Path
    read: Check | None
    output: Output | None
    status: str = MISSING
    problems: list[str] = field(default_factory=list)

    def check(self, store: DvcStore | None) -> None:
        """Reads the files. It may take long."""
        is_here = self.path.exists()
        self.problems = store.problems(self.output) if store and self.output else []
        try:
            if self.read and is_here:
                self.read(self.path)
        except (ContractError, OSError) as error:
            self.problems = [str(error), *self.problems]
        if self.problems:
            self.status = BROKEN
        else:
            self.status = OK if is_here else MISSING

    def show(self) -> None:
        """Prints one line, with the problems below it."""
        typer.secho(f"{self.status:8}", fg=COLORS[self.status], bold=True, nl=False)
        typer.echo("\n        ".join([str(self.path), *self.problems]))


def verify(
    heal: bool = flag("--heal", "Restore what dvc.lock records. With --remote, replace broken objects there, too."),
    remote: bool = flag("--remote", "Read every object on the default remote as well."),
    verbose: bool = flag("--verbose", "Also list what is whole or missing, a line for each.", "-v"),
    as_json: AsJson = False,
    params: Params = PARAMS,
    root: Root = ROOT,
) -> None:
    """Check all artifacts: their content, their own hashes, and DVC's copies of them.

    The exit code is 1 if something is broken. Artifacts that are not there yet
    are counted, but are no error.

    Example: gift verify --heal
    """
    from gift_core.doctor.storage import check_remote, read_settings

    store = _open_store(root, reads_remote=remote)
    items = _items(params_of(params, root), root, store)
    for item in progress(items, len(items), "artifacts"):
        item.check(store)
    broken = [item for item in items if item.status == BROKEN]
    if not as_json:
        for item in items if verbose else broken:
            item.show()
    if broken and heal and store:
        broken = _heal(store, broken, as_json=as_json)
    on_remote = _check_remote(store, heal=heal, as_json=as_json) if remote and store else {}
    counts = {status: sum(item.status == status for item in items) for status in (OK, MISSING, BROKEN)}
    stages = sorted({item.output.stage for item in broken if item.output and item.output.stage})
    again = " ".join(["dvc repro", *(["--force --single-item", *stages] if stages else ["report"])])
    if as_json:
        artifacts = [{"path": item.path, "status": item.status, "problems": item.problems} for item in items]
        remedy = again if broken and heal else None
        print_json({**counts, "broken_on_remote": [], **on_remote, "make_again": remedy, "artifacts": artifacts})
    else:
        typer.echo(f"{len(items)} artifacts: {counts[OK]} ok, {counts[MISSING]} missing, {len(broken)} broken")
        if counts[MISSING]:
            hint("missing: get them with dvc pull, or make them with dvc repro")
        if broken and not heal:
            hint("broken: restore them with gift verify --heal (of the report, make them again: dvc repro report)")
        elif broken:
            at = check_remote(root, read_settings(root))
            unread = "" if at.mark in ("ok", "info") else f" The remote was not read: {at.sentence}"
            typer.echo(f"broken: no copy is whole.{unread} Make them again: {again}")
    raise typer.Exit(1 if broken or on_remote.get("broken_on_remote") else 0)


def _open_store(root: Path, *, reads_remote: bool) -> DvcStore | None:
    """Returns the outputs of the DVC project, None where the folder is none. UserError where the remote is needed and
    does not answer."""
    from gift_core.doctor.storage import check_remote, read_settings

    from ..dvc.pipeline import require_free
    from ..dvc.store import DvcStore

    if not (root / ".dvc").is_dir():
        note(f"{root}: no DVC project, so only the files of the stages are checked")
        return None
    require_free(root)  # half of a new result looks broken
    if reads_remote:
        answer = check_remote(root, read_settings(root))
        if answer.mark != "ok":
            raise UserError(f"gift verify --remote: nothing was read. The remote: {answer.sentence}")
    return DvcStore(root)


def _items(params: Path, root: Path, store: DvcStore | None) -> list[Item]:
    """The artifacts in the order of the stages, then DVC's other outputs."""
    from gift_core.artifacts.verification import artifacts_of
    from gift_core.config.loading import load_config

    outputs = {os.path.realpath(output.path): output for output in store.outputs()} if store else {}
    artifacts = artifacts_of(Layout(root), load_config(params))
    items = [Item(path, read, outputs.pop(os.path.realpath(path), None)) for path, read in artifacts]
    return [*items, *(Item(root / os.path.relpath(output.path, root), None, output) for output in outputs.values())]


def _heal(store: DvcStore, broken: list[Item], *, as_json: bool) -> list[Item]:
    """Restores artifacts, and returns those of which no copy is whole."""
    note("healing ...")
    store.heal([item.output for item in broken if item.output])
    for item in broken:
        item.check(store)
        if item.status == MISSING:
            item.status, item.problems = BROKEN, ["no copy is whole, so it was removed"]
        if not as_json:
            item.show()
    return [item for item in broken if item.status == BROKEN]


def _check_remote(store: DvcStore, *, heal: bool, as_json: bool) -> dict[str, Any]:
    """Returns which objects are still broken on the remote, and how many were replaced or are not there.

    With JSON, the lines are on stderr.
    """
    damaged, absent = store.broken_on_remote()
    broken = store.replace_on_remote(damaged) if heal else damaged
    for oid in broken:
        files = (file for output in store.outputs() for file in store.files(output))
        paths = sorted({str(path) for path, of_file in files if of_file == oid})
        typer.secho(f"{BROKEN:8}", fg=COLORS[BROKEN], bold=True, nl=False, err=as_json)
        typer.echo(f"on the remote: {oid} ({', '.join(paths) or 'a listing'})", err=as_json)
    replaced = len(damaged) - len(broken)
    text = f"the remote: {replaced} objects replaced, {len(broken)} broken, {absent} not there"
    where = " in a clone that has them, or after dvc repro" if heal else ""
    typer.echo(f"{text}. Next: gift verify --remote --heal{where}" if broken else text, err=as_json)
    return {"broken_on_remote": broken, "replaced_on_remote": replaced, "absent_on_remote": absent}
