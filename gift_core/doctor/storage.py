"""Checks the DVC repository and its remote, and says where artifacts are kept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gift_core.doctor.finding import Finding
from gift_core.errors import UserError
from gift_core.untrusted import read_json_file

LINKS = ("hardlink", "symlink", "reflink")  # cache types of DVC that keep one copy
NO_SPACE = (
    "Free some space, set ingest.shorter_side, run fewer methods, or keep one copy: dvc config cache.type symlink"
)
RUNNING = ".dvc/tmp/rwlock"
BRACES = "DVC fails in a path with { or }, once a stage has run"  # its progress bar takes them for a pattern
REMOTE_TIMEOUT = 20.0  # seconds. Starting DVC may take half of them on a busy machine
CREDENTIALS = {  # remotes that need an extra of this project, and where their credentials are from
    "ssh": "Does `ssh HOST` work? Another key: gift remote URL --key-file FILE.",
    "gs": "Next: gcloud auth application-default login, or gift remote URL --key-file KEY.json.",
    "azure": "Next: az login, or set AZURE_STORAGE_CONNECTION_STRING; gift remote URL --account NAME.",
}
S3_SECONDS = 5.0  # for a connection, and for an answer. It tries twice
OTHER_SERVER = "For a server that is not AWS's: make remote URL=... ENDPOINT=https://..."
NETWORK_FAILS = "The server or the network fails."
REMEDIES = (  # what an error of a remote contains, and what to do
    (r"NoSuchBucket", "Create it, or correct the name: gift remote URL."),
    (r"InvalidAccessKeyId|SignatureDoesNotMatch|(No|Partial)Credentials|CredentialRetrieval|ProfileNotFound",
     "Next: aws configure, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile: --profile NAME."),
    (r"[Ee]xpired|InvalidToken", "Renew the credentials."),
    (r"AccessDenied|Access Denied|Forbidden|\b403\b|Permission denied|AuthorizationFailure",
     "The credentials may not do this: docs/team.md names the rights."),
    (r"No space left|File too large|quota", "Free some space on this machine."),
    (r"checksum", "Other bytes have arrived than were sent."),
    (r"SlowDown|reduce your request rate|\b50[0-4]\b|[Tt]imed? ?out|[Cc]onnect|payload", NETWORK_FAILS),
)  # fmt: skip
EMPTY = "It is empty. To share results: make share"
NO_PACKAGE = "needs a package that is not installed"
OFFLINE = "Until then everything stays on this machine: `dvc repro` works, `dvc push` and `dvc pull` do not."


def cache_folders(root: Path) -> dict[int, list[Path]]:
    """Returns {disk: folders on it} of the project and the DVC cache, each of which gets a copy of the artifacts."""
    repository = root / ".dvc"
    settings = read_settings(root) if repository.is_dir() else {}
    cache_type = settings.get("cache.type", "copy").strip("[]'").split(",")[0].strip("' ")
    cache = repository / settings.get("cache.dir", "cache")
    by_disk: dict[int, list[Path]] = {}
    for path in [root] if cache_type in LINKS else [root, cache]:
        folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
        by_disk.setdefault(folder.stat().st_dev, []).append(folder)
    return by_disk


def check_dvc(root: Path) -> Iterator[Finding]:
    """Yields the version of DVC, whether `root` is a DVC repository, and whether its default remote answers.

    Raises UserError if the settings of DVC cannot be read.
    """
    folder = root.resolve()
    if not (root / ".dvc").is_dir():
        yield Finding("dvc", "fail", f"{folder} is not a DVC repository", "Run in the project's root, or: dvc init")
        return
    settings = read_settings(root)
    in_git = any((parent / ".git").exists() for parent in (folder, *folder.parents))
    if not in_git and settings.get("core.no_scm") != "True":
        yield Finding("dvc", "fail", f"{folder} is not a git repository, which DVC expects", "Run: git init")
        return
    yield Finding("dvc", "ok", f"{metadata.version('dvc')}, repository {folder}")
    if {"{", "}"} & {*str(folder)}:
        yield Finding("dvc", "fail", f"{folder}: {BRACES}", "Rename or move that folder.")
    try:
        read_json_file(root / RUNNING)
    except FileNotFoundError:
        pass
    except ValueError:
        damage = f"its list of running stages, {RUNNING}, is damaged (a second Ctrl-C does that), so dvc repro fails"
        yield Finding("dvc", "fail", damage, f"If nothing runs here, remove it: rm {RUNNING}")
    yield from _check_merge_driver(root)
    yield check_remote(root, settings)


def _check_merge_driver(root: Path) -> Iterator[Finding]:
    """Yields a warning in a clone where git would merge dvc.lock line by line, and leave its marks there."""
    attributes = root / ".gitattributes"
    if not attributes.is_file() or "merge=dvc-lock" not in attributes.read_text("utf-8") or not shutil.which("git"):
        return
    if subprocess.run(["git", "config", "merge.dvc-lock.driver"], cwd=root, capture_output=True).returncode != 0:
        remedy = "Run make setup, or the commands of docs/team.md (Merge two branches)."
        yield Finding("git", "warn", "it does not know how to merge dvc.lock: a merge would stop there", remedy)


def check_remote(root: Path, settings: Mapping[str, str]) -> Finding:
    """Returns whether the default remote in the `settings` of DVC answers, or what DVC's error means."""
    name = settings.get("core.remote")
    if name is None:
        return Finding("dvc remote", "info", "none", "To share results: make remote URL=s3://bucket/gift")
    address = settings.get(f"remote.{name}.url", "no address")
    at, scheme = f"{name} ({address})", address.partition("://")[0]
    if scheme == "s3":
        return check_bucket(name, settings)
    way_on = f"{CREDENTIALS.get(scheme, '')} {OFFLINE}".lstrip()
    try:
        answer = run_dvc(root, "ls-url", f"remote://{name}", timeout=REMOTE_TIMEOUT)
    except subprocess.TimeoutExpired:
        return Finding("dvc remote", "fail", f"{at} did not answer within {REMOTE_TIMEOUT:.0f} s", way_on)
    if answer.returncode == 0:
        return Finding("dvc remote", "ok", f"{at} answers", "" if answer.stdout.strip() else EMPTY)
    reason = dvc_error(answer)
    if "to be installed" in reason and scheme in CREDENTIALS:
        return Finding("dvc remote", "fail", f"{at} {NO_PACKAGE}", f"Run: make setup EXTRAS={scheme}")
    if scheme in ("http", "https") and re.search(r": (403|404|405), message=", reason):
        return Finding("dvc remote", "ok", f"{at} answers, but lists no folders, so the run cache is not pulled")
    if "does not exist" in reason and scheme not in ("http", "https"):
        absent = f"{name}: there is nothing at {address} yet"
        return Finding("dvc remote", "warn", absent, "If the address is right, the first dvc push creates it.")
    return Finding("dvc remote", "fail", f"{at}: {reason}", way_on)


def check_bucket(name: str, settings: Mapping[str, str]) -> Finding:
    """Returns whether the S3 remote `name` can be listed, else what was tried and what to do next.

    `settings` are DVC's: {"remote.store.url": "s3://bucket/gift", "remote.store.endpointurl": ...}.
    """
    start = f"remote.{name}."
    remote = {key.removeprefix(start): value for key, value in settings.items() if key.startswith(start)}
    tried = f"{name} ({remote['url']})"
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return Finding("dvc remote", "fail", f"{tried} {NO_PACKAGE}", "Run: make setup EXTRAS=s3")
    try:
        client, credentials = _s3_client(remote)
        server = client.meta.endpoint_url
        tried += f": tried {server} with {credentials}"
        bucket, _, prefix = remote["url"].removeprefix("s3://").partition("/")
        answer = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix.rstrip('/')}/".lstrip("/"), MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        remedy = remedy_of(f"{type(error).__name__}: {error}")
        region = getattr(error, "response", {}).get("Error", {}).get("Region")
        if region:
            remedy = f"Next: gift remote {remote['url']} --region {region}"
        elif ".amazonaws.com" in tried or remedy in ("", NETWORK_FAILS):
            remedy = f"{remedy} {OTHER_SERVER}".lstrip()
        return Finding("dvc remote", "fail", f"{tried}: {' '.join(str(error).split()).rstrip('.')}", remedy)
    answering = f"{name} ({remote['url']} at {server}) answers"
    return Finding("dvc remote", "ok", answering, "" if answer.get("KeyCount") else EMPTY)


def remedy_of(error: str) -> str:
    """Returns what to do about an error of a remote, or nothing."""
    return next((remedy for pattern, remedy in REMEDIES if re.search(pattern, error)), "")


def _s3_client(remote: Mapping[str, str]) -> tuple[Any, str]:
    """Returns a client with the settings of a remote, and where its credentials are from."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    session = Session(profile=remote.get("profile"))
    is_public = remote.get("allow_anonymous_login", "").lower() == "true"
    verify = remote.get("ssl_verify", "")  # a truth value, or the path of a certificate
    if "credentialpath" in remote:
        session.set_config_variable("credentials_file", remote["credentialpath"])
    signing = UNSIGNED if is_public else None
    limits = {"connect_timeout": S3_SECONDS, "read_timeout": S3_SECONDS}
    client = session.create_client(
        "s3",
        endpoint_url=remote.get("endpointurl"),
        region_name=remote.get("region"),
        verify={"true": True, "false": False}.get(verify.lower(), verify or None),
        config=Config(**limits, retries={"total_max_attempts": 2}, signature_version=signing),
        **{f"aws_{key}": remote.get(key) for key in ("access_key_id", "secret_access_key", "session_token")},
    )
    if is_public or "access_key_id" in remote:
        return client, "no credentials" if is_public else "the key in DVC's settings"
    profile = session.get_config_variable("profile") or "default"
    credentials = session.get_credentials()
    source = f"credentials from {credentials.method}" if credentials else "no credentials"
    return client, f"{source}, profile {profile}"


def read_settings(root: Path) -> dict[str, str]:
    """Returns the settings of DVC from all its configuration files: {"core.remote": "store", ...}.

    Raises UserError if they cannot be read.
    """
    listed = run_dvc(root, "config", "--list")
    if listed.returncode != 0:
        raise UserError(f"The settings of DVC cannot be read ({dvc_error(listed)}). Correct .dvc/config.")
    pairs = (line.partition("=") for line in listed.stdout.splitlines())
    return {key: value for key, _, value in pairs}


def run_dvc(root: Path, *words: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Runs DVC without telemetry. Raises TimeoutExpired after `timeout` seconds."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=timeout)


def dvc_error(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the first line of DVC's error."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    error = next((line for line in lines if line.startswith("ERROR:")), lines[0] if lines else "no reason given")
    return error.removeprefix("ERROR:").strip()
