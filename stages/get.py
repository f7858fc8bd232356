"""get: pulls results and raw data, and says plainly what there is to pull."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from .output import AsJson, name_guides, note, print_json
from .stage import ROOT, Root

if TYPE_CHECKING:
    from gift_core.doctor.finding import Finding

SHOWN = 5


def get(as_json: AsJson = False, root: Root = ROOT) -> None:
    """Pull what others have pushed: results, raw data and the run cache.

    Without a remote, or if it does not answer or is empty, nothing is changed, and
    `dvc repro` makes the results here.

    Example: gift get
    """
    from gift_core.doctor.storage import check_remote, read_settings
    from gift_core.team.raw_data import raw_data_files
    from gift_core.team.remotes import missing_outputs, pull

    remote = check_remote(root, read_settings(root))
    if remote.mark != "ok" or remote.remedy:
        note(f"The remote: {remote.found}. {remote.remedy}")
        note("Nothing was pulled, nothing was changed. `dvc repro` makes the results on this machine.")
        _print(as_json, remote, pulled=False)
        return
    targets = [] if (root / "dvc.lock").is_file() else raw_data_files(root)
    if not targets and not (root / "dvc.lock").is_file():
        note("There is nothing to pull: this commit has no dvc.lock. `dvc repro` makes the results here.")
        _print(as_json, remote, pulled=False)
        return
    note(f"The remote: {remote.found}.")
    code = pull(root, targets)
    missing = missing_outputs(root)
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        note(f"The remote has no whole copy of {', '.join(missing[:SHOWN])}{more}. `dvc repro` makes what is missing.")
        note("`gift verify --remote` tells damaged from missing.")
    _print(as_json, remote, pulled=code == 0, missing=missing)
    if code != 0:
        what = "`dvc pull` failed, see above. What has arrived is kept, so run it again. docs/team.md has more."
        typer.echo(name_guides(what), err=True)
        raise typer.Exit(code)


def _print(as_json: bool, remote: Finding, *, pulled: bool, missing: Sequence[str] = ()) -> None:
    if as_json:
        print_json({"remote": remote.found, "remedy": remote.remedy, "pulled": pulled, "missing": list(missing)})
