"""Seeds by name: a random number generator is seeded by its purpose, not by its position in a loop."""

from __future__ import annotations

import hashlib
import json


def seed_for(*names: str | int | float) -> int:
    """Returns the seed for these names, 0 <= seed < 2**63, the same on every machine and in every version.

    It is the first 63 bits of the SHA-256 of the names as a JSON list: seed_for("ingest", 42, "digits").
    """
    text = json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1
