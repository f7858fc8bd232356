"""One Ray with three workers in a process of its own, as `gift run` has it, and stages that get its offer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORKERS = 3
SERVE = f"""
import json
import sys
from pathlib import Path

from gift_core.execution.pool import open_pool

with open_pool(address=None, workers={WORKERS}, gpus_per_stage=1, use_gpus=False) as pool:
    print(json.dumps(pool.offer(None, 1, Path(sys.argv[1]))), flush=True)
    sys.stdin.read()
"""


@contextmanager
def ray_offer(folder: Path) -> Iterator[dict[str, str]]:
    """Yields what stages get of a Ray that ends with the block. `folder` is for the marks of waiting stages."""
    command = [sys.executable, "-c", SERVE, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.stdin.close()
