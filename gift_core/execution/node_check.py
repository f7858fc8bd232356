"""`python -m gift_core.execution.node_check` prints what has to be equal on all machines of a cluster.

Stages on different machines must run the same code with the same libraries, or their results would not be those of
`dvc repro`.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping

from gift_core.code.fingerprint import digest_of, running_code
from gift_core.errors import UserError
from gift_core.provenance import PACKAGES, version_of

LIBRARIES = ("torch", *PACKAGES, "safetensors", "pyarrow", "dvc", "ray")


def local_facts() -> dict[str, str]:
    """Returns {"gift_core": hash of all code, "Python": "3.12.3", "torch": "2.13.0", ...} of this machine."""
    code = digest_of(json.dumps(running_code().files).encode())
    return {"gift_core": code, "Python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}


def compare_nodes(here: Mapping[str, str], nodes: Mapping[str, Mapping[str, str]]) -> None:
    """Raises UserError, which names every difference, unless all machines have the facts of this one."""
    lines = []
    for node, facts in sorted(nodes.items()):
        if "error" in facts:
            lines.append(f"{node}: {facts['error']}")
        else:
            lines += [
                f"{node}: {name} is {facts.get(name)} there and {value} here"
                for name, value in here.items()
                if facts.get(name) != value
            ]
    if lines:
        raise UserError(
            "gift run: the machines of the cluster differ:\n  "
            + "\n  ".join(lines)
            + "\nAll of them need the project in the same folder and the same environment (docs/scaling.md)."
        )


if __name__ == "__main__":
    print(json.dumps(local_facts()))  # noqa: T201
