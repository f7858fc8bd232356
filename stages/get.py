"""get: pulls results and raw data, and says plainly what there is to pull."""

from __future__ import annotations

import typer

from .stage import ROOT, Root

SHOWN = 5


def get(root: Root = ROOT) -> None:
    """Pull what others have pushed: results, raw data and the run cache.

    Without a remote, or if it does not answer or is empty, nothing is changed, and
    `dvc repro` makes the results here.
    """
    from gift_core.doctor.storage import check_remote, read_settings
    from gift_core.team.raw_data import raw_data_files
    from gift_core.team.remotes import missing_outputs, pull

    remote = check_remote(root, read_settings(root))
    if remote.mark != "ok" or remote.remedy:
        _say(f"The remote: {remote.found}. {remote.remedy}")
        _say("Nothing was pulled, nothing was changed. `dvc repro` makes the results on this machine.")
        return
    targets = [] if (root / "dvc.lock").is_file() else raw_data_files(root)
    if not targets and not (root / "dvc.lock").is_file():
        _say("There is nothing to pull: this commit has no dvc.lock. `dvc repro` makes the results here.")
        return
    _say(f"The remote: {remote.found}.")
    code = pull(root, targets)
    missing = missing_outputs(root)
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        _say(f"The remote has no whole copy of {', '.join(missing[:SHOWN])}{more}. `dvc repro` makes what is missing.")
        _say("`gift verify --remote` tells damaged from missing.")
    if code != 0:
        _say("`dvc pull` failed, see above. What has arrived is kept, so run it again. docs/team.md has more.")
        raise typer.Exit(code)


def _say(message: str) -> None:
    typer.echo(message, err=True)
