"""Measures `gift share` and `gift get` beside `dvc push` and `dvc pull --jobs 16`, over S3 that answers after 20 ms.

`python -m benchmarks.remote_speed 140 5000` (numbers of files). Needs the extra dev, which has moto's server.
"""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

LATENCY = 0.02  # seconds
FOLDERS, BYTES, RUNS = 14, 20_000, 140  # folders that DVC tracks, bytes of a file, entries of the run cache
ROOT = Path(__file__).resolve().parents[1]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def serve() -> str:
    """Starts an S3 server that answers after LATENCY, and returns its URL."""
    from moto.server import DomainDispatcherApplication, create_backend_app  # type: ignore[attr-defined]
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        time.sleep(LATENCY)
        return moto(environ, start)  # type: ignore[no-any-return]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def run(folder: Path, *command: str) -> float:
    """Runs a command in the folder and returns its seconds."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def make_project(folder: Path, files: int) -> None:
    """Writes a project with so many files of raw data, in folders that DVC tracks, and a run cache."""
    folder.mkdir()
    run(folder, "git", "init", "--quiet")
    run(folder, "dvc", "init", "--quiet")
    generator = random.Random(0)
    for number in range(files):
        write(folder / "data" / f"{number % FOLDERS}" / f"{number}.bin", generator.randbytes(BYTES))
    for number in range(RUNS):
        write(folder / ".dvc" / "cache" / "runs" / f"{number:02x}" / f"{number:064x}" / f"{number:064x}", b"cmd: true")
    (folder / "params.yaml").touch()
    run(folder, "sh", "-c", "dvc add --quiet data/* && git add --all && git commit --quiet --message files")


def write(file: Path, content: bytes) -> None:
    """Writes a file, with its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def measure(files: int, url: str) -> None:
    """Prints the seconds of each command, and the ratios."""
    import boto3  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "project"
        make_project(project, files)
        gift, options, seconds = (sys.executable, "-m", "stages"), ("--run-cache", "--jobs", "16"), {}
        dvc = [("dvc", name, *options) for name in ("push", "pull")]
        for who, (push, pull) in {"dvc": dvc, "gift": [(*gift, name) for name in ("share", "get")]}.items():
            boto3.resource("s3", endpoint_url=url).create_bucket(Bucket=f"{who}-{files}")
            run(project, *gift, "remote", f"s3://{who}-{files}", "--endpoint", url)
            run(project, "git", "commit", "--quiet", "--all", "--message", who)
            run(project, "git", "clone", "--quiet", ".", str(Path(name) / who))
            seconds[who] = [run(project, *push), run(Path(name) / who, *pull)]
        for at, what in enumerate(("share / push", "get / pull")):
            ours, dvcs = seconds["gift"][at], seconds["dvc"][at]
            print(f"{files} files, {what}: gift {ours:.1f} s, dvc {dvcs:.1f} s, ratio {ours / dvcs:.2f}", flush=True)


if __name__ == "__main__":
    os.environ |= KEYS
    address = serve()
    for count in sys.argv[1:] or ("140",):
        measure(int(count), address)
