"""What the machines of a cluster must have in common: stages on all of them run the same code with the same libraries.

`python -m gift_core.execution.machine_facts FACTS TOKEN` says what a machine has in another version.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from gift_core.code.versions import digest_of, running_code
from gift_core.provenance import PACKAGES, version_of

LIBRARIES = ("torch", *PACKAGES, "safetensors", "pyarrow", "dvc", "ray")


def local_facts() -> dict[str, str]:
    """Returns {"gift_core": hash of all code, "Python": "3.12.3", "torch": "2.13.0", ...} of this machine."""
    code = digest_of(json.dumps(running_code().files).encode())
    return {"gift_core": code, "Python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}


def differences(wanted: Mapping[str, str], token: Path) -> list[str]:
    """Returns a line for each fact of this machine that is not as `wanted`.

    `token` is a file that the machine which runs `gift run` has just written into the project.
    """
    if not token.is_file():
        return [f"it has no {token}: the project must lie on a file system that all machines share"]
    facts = local_facts()
    different = [name for name, value in wanted.items() if facts.get(name) != value]
    return [f"{name} is {facts.get(name)} there and {wanted[name]} here" for name in different]


if __name__ == "__main__":
    sys.exit("\n".join(differences(json.loads(sys.argv[1]), Path(sys.argv[2]))) or None)
