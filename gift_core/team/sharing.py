"""Where results are shared, and how they come together: the default remote of DVC, and two versions of dvc.lock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gift_core.doctor.finding import Finding
from gift_core.doctor.storage import check_remote, dvc_error, read_settings, run_dvc
from gift_core.errors import UserError

NAME = "store"
_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@")
EXAMPLES = "Examples: /mnt/shared/gift, s3://bucket/gift, ssh://host/path/gift"
SETTINGS = {  # option of `gift remote`: {scheme: the setting of DVC}
    "endpoint": {"s3": "endpointurl"},
    "region": {"s3": "region"},
    "profile": {"s3": "profile"},
    "key_file": {"ssh": "keyfile", "gs": "credentialpath"},
    "account": {"azure": "account_name"},
}
_STAGE = re.compile(r"^  (\S.*):\n", re.MULTILINE)  # of dvc.lock: names are two spaces from the margin
_HEAD = "schema: '2.0'\nstages:\n"
OF_THIS_MACHINE = ("profile", "key_file")  # in .dvc/config.local, which git ignores


def set_remote(root: Path, url: str, options: Mapping[str, str | None]) -> Finding:
    """Makes `url` the default remote, with hashes checked at every pull. Returns whether it answers.

    `options`: {option of SETTINGS: value}. UserError for an address that cannot be shared, and an option that is not
    for it; the settings of DVC are then unchanged.
    """
    given = {f"--{name.replace('_', '-')}": (name, value) for name, value in options.items() if value}
    texts = {"URL": url, **{flag: value for flag, (_, value) in given.items()}}
    for name, text in texts.items():
        if not text.isascii() or not text.isprintable() or text.startswith("-"):  # DVC would empty .dvc/config
            raise UserError(f"{name}: {text!r} has other characters than ASCII, which DVC cannot store. {EXAMPLES}")
    if _PASSWORD.search(url):
        where = "dvc remote modify --local store password ..."
        raise UserError(f"URL: contains a password, and .dvc/config is in git. Leave it out, then: {where}")
    if "://" not in url and not Path(url).is_absolute():
        raise UserError(f"URL: {url!r} is not an absolute path, it would be another one in each clone. {EXAMPLES}")
    settings = read_settings(root)
    scheme = url.partition("://")[0]
    name = settings.get("core.remote", NAME)
    exists = f"remote.{name}.url" in settings  # then its other settings stay
    commands = [["modify", name, "url", url] if exists else ["add", "--default", name, url]]
    commands.append(["modify", name, "verify", "true"])
    for flag, (option, value) in given.items():
        schemes = SETTINGS[option]
        if scheme not in schemes:
            raise UserError(f"{flag}: is for {', '.join(f'{known}://' for known in schemes)}, not for {url}")
        if option == "endpoint" and not re.match(r"https?://[^/@]+", value):
            raise UserError(f"{flag}: {value!r} is no address of a server. Example: https://minio.example.org:9000")
        if option == "key_file":
            value = str(Path(value).expanduser().absolute())
        local = ["--local"] if option in OF_THIS_MACHINE else []
        commands.append(["modify", *local, name, schemes[scheme], value])
    for words in commands:
        done = run_dvc(root, "remote", *words)
        if done.returncode != 0:
            raise UserError(f"dvc remote {words[0]}: {dvc_error(done)}. Run in the project's root.")
    return check_remote(root, read_settings(root))


def merge_locks(base: str, ours: str, theirs: str) -> tuple[str, list[str]]:
    """Returns dvc.lock with the stages that either side changed since `base`, which may be empty.

    Also the stages that both sides changed. Of these it has our version. DVC compares each stage with its dependencies
    and parameters, so one that fits nothing runs again: the merge decides only how much is left to do. UserError for a
    text that DVC did not write, for example one with git's conflict markers.
    """
    before = _stages(base, "base") if base else {}
    our_stages, their_stages = _stages(ours, "ours"), _stages(theirs, "theirs")
    merged = ""
    both: list[str] = []
    for name in {**our_stages, **their_stages}:
        our, their = our_stages.get(name), their_stages.get(name)
        if before.get(name) == our:  # only their side changed the stage, or neither
            merged += their or ""
        elif before.get(name) == their or our == their:
            merged += our or ""
        else:
            both.append(name)
            merged += our or their or ""  # ours, unless we removed the stage
    return _HEAD + merged, both


def _stages(text: str, side: str) -> Mapping[str, str]:
    """Returns {stage: its lines} in the order of the file."""
    head, _, body = text.partition("stages:\n")
    lines = body.splitlines(keepends=True)
    strange = [line for line in lines if not line.startswith("  ")]
    if f"{head}stages:\n" != _HEAD or strange or not _STAGE.match(body) or not text.endswith("\n"):
        shown = [*strange, *lines[-1:], head][0].strip()[:60]
        remedy = "Take one side: git checkout --ours dvc.lock"
        raise UserError(f"dvc.lock ({side}): is not as DVC writes it ({shown!r}). {remedy}")
    _, *parts = _STAGE.split(body)
    return {name: f"  {name}:\n{rest}" for name, rest in zip(parts[::2], parts[1::2], strict=True)}
