"""get, share, remote URL, merge-lock, gate, hub push: results that others made, and what may be shipped."""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from pathlib import Path
from typing import Literal

import typer

from gift_core.errors import GiftError, UserError
from gift_core.layout import WATCHED, Layout
from gift_core.quantities import first_names
from gift_core.stage_facts import facts_of

from ..command_line import (
    AsJson,
    GiftCommand,
    hint,
    name_guides,
    note,
    print_error,
    print_files,
    print_json,
    require_new,
)
from ..options import PARAMS, ROOT, Root, ShippedMethod, argument, flag, option, require_project

NO, BAD_INPUT = 1, 2
NOT_PUSHED = "links, and data without `dvc add`, are not pushed."
hub = typer.Typer(
    help="Models and synthetic shards on the Hugging Face hub. Log in once with: hf auth login.", no_args_is_help=True
)


def get(as_json: AsJson = False, root: Root = ROOT) -> None:
    """Pull what others have pushed: results, raw data and the run cache.

    Without a remote, or if it does not answer or is empty, nothing is changed, and
    `dvc repro` makes the results here.

    Example: gift get
    """
    from gift_core.doctor.storage import check_remote, read_settings

    from ..dvc.store import DvcStore

    require_project(root)
    remote = check_remote(root, read_settings(root))
    pulled = False
    missing, unshared = list[str](), list[str]()
    if remote.mark != "ok" or remote.remedy:
        note(name_guides(f"The remote: {remote.sentence}"))
        note("Nothing was pulled, nothing was changed. `dvc repro` makes the results on this machine.")
    else:
        note(f"The remote: {remote.found}.")
        store = DvcStore(root)
        if not store.outputs():
            note("There is nothing to pull: this commit has no dvc.lock. `dvc repro` makes the results here.")
        store.fetch()
        pulled, missing = True, [os.path.relpath(path, root) for path in store.missing()]
        unshared = [path for path, is_here in store.unshared_inputs().items() if not is_here]
    if missing:
        note(f"The remote has no whole copy of {first_names(missing)}. `dvc repro` makes what is missing.")
        note("`gift verify --remote` tells damaged from missing.")
    if unshared:
        note(f"The remote does not have {first_names(unshared)}: {NOT_PUSHED}")
        note("What was made from them is here. Run: dvc repro --allow-missing")
    if as_json:
        record = {"remote": remote.found, "remedy": remote.remedy, "pulled": pulled}
        print_json({**record, "missing": missing, "unshared": unshared})


def share(root: Root = ROOT) -> None:
    """Push results, raw data and the run cache to the remote.

    Example: gift share
    """
    from gift_core.doctor.storage import check_remote, read_settings

    from ..dvc.store import DvcStore

    require_project(root)
    remote = check_remote(root, read_settings(root))
    if remote.mark in ("fail", "info"):
        raise UserError(f"gift share: nothing was pushed. The remote: {remote.sentence}")
    store = DvcStore(root)
    store.push()
    note("The remote has everything that dvc.lock and the .dvc files name, and the run cache.")
    raw = [path for path, is_here in store.unshared_inputs().items() if is_here and path.startswith("data/0_raw/")]
    unshared = [path for path in raw if path not in WATCHED]  # these are folders of the project
    if unshared:
        note(name_guides(f"It does not have {first_names(unshared)}: {NOT_PUSHED} See docs/team.md."))


def remote(
    url: str = argument("URL", "A folder, s3://, ssh://, gs://, azure://, http:// or https://"),
    endpoint: str | None = option("URL", "S3: a server that is not AWS's, such as https://minio.example.org"),
    region: str | None = option("REGION", "S3: the region of the bucket."),
    profile: str | None = option("PROFILE", "S3: of ~/.aws/config. On this machine only."),
    key_file: str | None = option("FILE", "SSH: a private key. GCS: a key in JSON. On this machine only."),
    account: str | None = option("NAME", "Azure: the storage account."),
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Set where results are shared, and say whether it answers.

    It becomes DVC's default remote, and DVC checks the hash of every file that
    it pulls. Commit .dvc/config afterwards.

    Example: gift remote s3://bucket/gift
    """
    from gift_core.team.sharing import set_remote

    given = {"endpoint": endpoint, "region": region, "profile": profile, "key_file": key_file, "account": account}
    finding = set_remote(root, url, given)
    if as_json:
        print_json({"url": url, "mark": finding.mark, "found": finding.found, "remedy": finding.remedy})
    else:
        typer.echo("\n".join(filter(None, [finding.found, finding.remedy])))
    if finding.mark == "fail":
        raise typer.Exit(1)
    if not as_json:
        hint("Next: git commit .dvc/config, then make share")


def merge_lock(
    base: Path = argument("BASE", "dvc.lock before both sides, as git gives it to a merge driver."),
    ours: Path = argument("OURS", "dvc.lock of this branch, which is replaced."),
    theirs: Path = argument("THEIRS", "dvc.lock of the other branch."),
) -> None:
    """Merge two versions of dvc.lock: the stages of both sides.

    `make setup` makes it git's merge driver for dvc.lock, so that there is no conflict.

    Example: gift merge-lock %O %A %B
    """
    from gift_core.team.sharing import merge_locks

    merged, changed = merge_locks(*(path.read_text(encoding="utf-8") for path in (base, ours, theirs)))
    ours.write_text(merged, encoding="utf-8", newline="\n")
    typer.echo("dvc.lock: the stages of both sides; `dvc repro --pull` runs what does not fit", err=True)
    both = [name for name in changed if not facts_of(name).always_runs]  # these read what both sides changed
    if both:
        typer.echo(f"dvc.lock: both sides changed {first_names(both, 6)}: kept as on this branch", err=True)


def gate(
    min_last: float | None = option(
        "PERCENT", "Last has to be at least this: the mean accuracy after the last task.", min=0, max=100
    ),
    max_forgetting: float | None = option("POINTS", "Forgetting may be at most this.", min=-100, max=100),
    min_zero_shot_change: float | None = option(
        "POINTS",
        "The mean over evaluation.probes minus that of the zero-shot model has to be at least this: -2.",
        min=-100,
        max=100,
    ),
    against: str | None = option("REVISION", "No metric may be worse than in this branch, tag or commit."),
    tolerance: float = option(
        "POINTS", "By how much a metric may be worse than in the revision.", min=0, max=100, default=1.0
    ),
    method: ShippedMethod = None,
    as_json: AsJson = False,
    root: Root = ROOT,
) -> None:
    """Say whether the result may be shipped, by the limits given and in comparison with another revision.

    Reads reports/metrics.json, and with --against what git has of it there: Last,
    Transfer and the mean over the probes must not be lower, Forgetting not higher,
    by more than --tolerance.
    If that revision learned other tasks, there is nothing to compare, which is said.
    The exit code is 0 for yes, 1 for no, and 2 if there is no answer: a result that
    is older than params.yaml is not judged.

    Example: gift gate --max-forgetting 5 --min-zero-shot-change -2 --against main
    """
    from gift_core.config.loading import load_config
    from gift_core.report.run_record import contender
    from gift_core.team.gate import judge

    try:
        given = {"last": min_last, "forgetting": max_forgetting, "zero_shot_change": min_zero_shot_change}
        limits = {metric: limit for metric, limit in given.items() if limit is not None}
        if not limits and against is None:
            criteria = "--min-last, --max-forgetting, --min-zero-shot-change or --against"
            raise UserError(f"gift gate: no criterion. Give {criteria}.")
        config = load_config(root / PARAMS)
        verdict = judge(root, config, contender(config, method), limits, against=against, tolerance=tolerance)
    except GiftError as error:
        print_error(error)
        raise typer.Exit(BAD_INPUT) from None
    if as_json:
        print_json(dataclasses.asdict(verdict))
    else:
        typer.echo(verdict.sentence)
    if not verdict.ok:
        raise typer.Exit(NO)


@hub.command(cls=GiftCommand)
def push(
    kind: Literal["model", "shards"] = argument("KIND", "What it is: model or shards."),
    folders: list[Path] = argument(
        "FOLDER", "A model folder, such as data/6_released/gift/birds, or folders of shards."
    ),
    to: str = option("USER/NAME", "The repository.", default=...),
    private: bool = flag("--private", "A new repository is visible to you alone."),
    license: str | None = option("NAME", "The license for the card, as the hub names it: mit, cc-by-4.0 ..."),
    branch: str | None = option("BRANCH", "A branch, instead of main.", "--revision"),
    out: Path | None = option("FOLDER", "Write what would be uploaded to this folder, and upload nothing.", "--out"),
    root: Root = ROOT,
) -> None:
    """Upload a model folder, or synthetic image-text pairs (shards), with a card.

    open_clip loads a model as hf-hub:USER/NAME. Its card says what it was trained
    on, how, and its accuracies before and after. `datasets.load_dataset("USER/NAME")`
    loads shards: data/3_shards/birds. Images of real tasks are refused.

    Example: gift hub push model data/6_released/gift/birds --to user/clip-birds
    """
    from gift_core.team.hub import build_model, build_shards, upload
    from gift_core.work.publishing import build_folder

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", to):
        raise UserError(f"--to {to}: the name of a repository should be user/name, or organization/name.")
    if kind == "model" and len(folders) > 1:
        raise typer.BadParameter(f"a repository has one model, {len(folders)} given")
    if out is not None:
        require_new(out, *map(str, folders))
    with build_folder(out) if out else tempfile.TemporaryDirectory() as name:
        target = Path(name)
        if kind == "model":
            build_model(folders[0], target, to, Layout(root), license)
        else:
            build_shards(folders, target, to, license)
        repo_type = "model" if kind == "model" else "dataset"
        address = None if out else upload(target, to, repo_type, branch, private=private)
    if out is not None:
        print_files(sorted(path for path in out.rglob("*") if path.is_file()))
        return
    typer.echo(address)
    if kind == "model":
        typer.echo(f'open_clip.create_model_and_transforms("hf-hub:{to}")')
