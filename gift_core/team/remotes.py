"""Where results are shared: the default remote of DVC, checked before it is used."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gift_core.doctor.finding import Finding
from gift_core.doctor.storage import check_remote, dvc_error, read_settings, run_dvc
from gift_core.errors import UserError
from gift_core.progress import is_quiet

NAME = "store"
STDERR = 2
_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@")
EXAMPLES = "Examples: /mnt/shared/gift, s3://bucket/gift, ssh://host/path/gift"


def set_remote(root: Path, url: str) -> Finding:
    """Makes `url` the default remote, with hashes checked at every pull. Returns whether it answers.

    UserError for an address that cannot be shared; the settings of DVC are then unchanged.
    """
    if not url.isascii() or not url.isprintable() or url.startswith("-"):  # DVC would empty .dvc/config
        raise UserError(f"URL: {url!r} has other characters than ASCII, which DVC cannot store. {EXAMPLES}")
    if _PASSWORD.search(url):
        where = "dvc remote modify --local store password ..."
        raise UserError(f"URL: contains a password, and .dvc/config is in git. Leave it out, then: {where}")
    if "://" not in url and not Path(url).is_absolute():
        raise UserError(f"URL: {url!r} is not an absolute path, it would be another one in each clone. {EXAMPLES}")
    settings = read_settings(root)
    name = settings.get("core.remote", NAME)
    known = f"remote.{name}.url" in settings  # then its other settings stay
    address = ["modify", name, "url", url] if known else ["add", "--default", name, url]
    for words in (address, ["modify", name, "verify", "true"]):
        done = run_dvc(root, "remote", *words)
        if done.returncode != 0:
            raise UserError(f"dvc remote {words[0]}: {dvc_error(done)}. Run in the project's root.")
    return check_remote(root, read_settings(root))


def pull(root: Path, targets: Sequence[str]) -> int:
    """Runs `dvc pull` with the run cache, all output on stderr, and returns its exit code."""
    options = ["--run-cache", "--allow-missing", *(["--quiet"] if is_quiet() else [])]
    command = [sys.executable, "-m", "dvc", "pull", *options, *targets]
    return subprocess.run(command, cwd=root, stdout=STDERR).returncode


def missing_outputs(root: Path) -> list[str]:
    """Returns the outputs that dvc.lock and the .dvc files name and that are not on this machine."""
    status = run_dvc(root, "data", "status", "--json")
    return list(json.loads(status.stdout).get("not_in_cache", [])) if status.returncode == 0 else []
