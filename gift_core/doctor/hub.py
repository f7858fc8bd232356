"""The model hub: what its cache on this machine holds, and whether the hub itself can be asked."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from gift_core.doctor.finding import Finding

PATIENCE = 3.0  # seconds that the hub has to answer


def in_cache(repository: str, files: Iterable[str], *, revision: str | None = None) -> Path | None:
    """Returns the first of `files` that the hub's cache holds of a repository, None where it holds none."""
    from huggingface_hub import constants, try_to_load_from_cache

    for name in files:
        found = try_to_load_from_cache(repository, name, cache_dir=constants.HF_HUB_CACHE, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def to_be_fetched(subject: str, what: str, *, by_hand: str) -> Finding:
    """Returns whether `what`, which is not on this machine, can be fetched; `by_hand` is what to do where it cannot."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        found = f"{what} is not on this machine, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE keeps it from being fetched"
        return Finding(subject, "fail", found, f"Unset them for the first run, or {by_hand}.")
    if hub_answers(constants.ENDPOINT):
        return Finding(subject, "ok", f"{what} is not on this machine yet, and {constants.ENDPOINT} answers")
    found = f"{what} is not on this machine, and {constants.ENDPOINT} does not answer within {PATIENCE:.0f} s"
    return Finding(subject, "fail", found, f"Connect (HTTPS_PROXY, HF_ENDPOINT), or {by_hand}.")


@cache  # the model and the generator ask the same one
def hub_answers(address: str, patience: float = PATIENCE) -> bool:
    """Returns whether something answers at `address` within `patience` seconds, looking up its name included."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=patience):
                answered.set()
        except urllib.error.HTTPError:  # an answer too
            answered.set()
        except (OSError, ValueError):
            pass

    asking = threading.Thread(target=ask, daemon=True)  # a name server may keep us waiting beyond any timeout
    asking.start()
    asking.join(patience)
    return answered.is_set()
