"""What can be had from the Hugging Face hub: what its cache has, and whether it answers.

A library that cannot reach the hub tries again and again, with a warning each time. So the hub is asked first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread

from gift_core.errors import UserError

PATIENCE = 10.0  # seconds
CACHED_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # what open_clip looks for


def require_download(
    repository: str,
    files: Iterable[str],
    *,
    key: str,
    folder: str,
    params: Mapping[str, str],
    revision: str | None = None,
) -> None:
    """Raises UserError if none of `files` is in the cache for a repository, and nothing can be downloaded now.

    Also for a name that the hub does not allow. The error begins with `key`. It has the command that fetches the
    repository elsewhere into `folder`, and the lines of params.yaml that name it then: `params`, of the section that
    begins `key`.
    """
    try:
        if in_cache(repository, files, revision=revision) is not None:
            return
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    problem = download_problem(PATIENCE)
    if problem is not None:
        at = f" --revision {revision}" if revision else ""
        lines = "".join(f"\n    {name}: {value}" for name, value in params.items())
        raise UserError(
            f"{key}: {repository} is not on this machine, and {problem[0]}. {problem[1]}, or fetch it on a machine "
            "with a connection:\n"
            f"  hf download {repository}{at} --local-dir {folder}\n"
            f"Bring that folder here, and write into params.yaml:\n  {key.split('.')[0]}:{lines}"
        )


def download_problem(timeout: float) -> tuple[str, str] | None:
    """Returns why nothing can be downloaded from the hub now, and a remedy. None if it answers in `timeout` seconds."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE prevents the download", "Unset them for the first run"
    if hub_answers(constants.ENDPOINT, timeout):
        return None
    return f"{constants.ENDPOINT} does not answer within {timeout:.0f} s", "Connect (HTTPS_PROXY, HF_ENDPOINT)"


def in_cache(repository: str, files: Iterable[str], *, revision: str | None = None) -> Path | None:
    """Returns the first of `files` that is in the hub cache for a repository, or None.

    UserError for a name that the hub does not allow.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.utils import HFValidationError  # type: ignore[attr-defined]

    for name in files:
        try:
            cached = try_to_load_from_cache(repository, name, cache_dir=constants.HF_HUB_CACHE, revision=revision)
        except HFValidationError as error:
            raise UserError(f"{repository!r} is no name of a repository: {error}") from None
        if isinstance(cached, str):
            return Path(cached)
    return None


@cache  # the model and the generator use the same hub
def hub_answers(address: str, timeout: float) -> bool:
    """Returns whether a server answers at `address` within `timeout` seconds. An error is an answer."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    answers: list[object] = []

    def ask() -> None:
        with suppress(Exception):  # of requests or httpx, by the version of huggingface_hub
            answers.append(get_session().head(address, timeout=timeout))

    asking = Thread(target=ask, daemon=True)  # the library's timeout starts again with each byte
    asking.start()
    asking.join(timeout)
    return bool(answers)
