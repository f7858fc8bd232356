"""Measures `gift share` and `gift get` beside DVC and `aws s3 sync`, over S3 that answers after 20 ms.

`python -m benchmarks.remote_speed 140 5000 1x2000000000` (numbers of files, and their bytes if others than BYTES).
Needs the extra dev, which has moto's server, and for the comparison with it the program aws.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

LATENCY = 0.02  # seconds
FOLDERS, BYTES, RUNS = 14, 20_000, 140  # folders that DVC tracks, bytes of a file, entries of the run cache
PIECE = 2**18  # bytes that the server sends at once
ROOT = Path(__file__).resolve().parents[1]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def serve() -> tuple[str, Counter[str]]:
    """Starts an S3 server that answers after LATENCY. Returns its URL, and the bytes of contents in both directions."""
    from moto.server import DomainDispatcherApplication, create_backend_app  # type: ignore[attr-defined]
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto, moved = DomainDispatcherApplication(create_backend_app), Counter[str]()

    def counted(body: Iterable[bytes]) -> Iterator[bytes]:
        for part in body:
            for start in range(0, len(part), PIECE):  # s3fs asks for the whole of a large file first, and hangs up
                moved["pull"] += len(part[start : start + PIECE])
                yield part[start : start + PIECE]

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        time.sleep(LATENCY)
        moved["push"] += int(environ.get("CONTENT_LENGTH") or 0)
        return counted(moto(environ, start))

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", moved


def run(folder: Path, *command: str) -> float:
    """Runs a command in the folder and returns its seconds."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return time.perf_counter() - started


def make_project(folder: Path, files: int, size: int) -> None:
    """Writes a project with so many files of `size` bytes, in folders that DVC tracks, and a run cache."""
    folder.mkdir()
    run(folder, "git", "init", "--quiet")
    run(folder, "dvc", "init", "--quiet")
    for number in range(files):
        write(folder / "data" / f"{number % FOLDERS}" / f"{number}.bin", os.urandom(size))
    for number in range(RUNS):
        write(folder / ".dvc" / "cache" / "runs" / f"{number:02x}" / f"{number:064x}" / f"{number:064x}", b"cmd: true")
    (folder / "params.yaml").touch()
    run(folder, "sh", "-c", "dvc add --quiet data/* && git add --all && git commit --quiet --message files")


def write(file: Path, content: bytes) -> None:
    """Writes a file, with its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def measure(files: int, size: int, url: str, moved: Counter[str]) -> None:
    """Prints the seconds of each command, the bytes that it moved, and the ratios to those of gift."""
    import boto3  # type: ignore[import-untyped]

    gift, options, sync = (sys.executable, "-m", "stages"), ("--run-cache", "--jobs", "16"), ("aws", "s3", "sync")
    clients: dict[str, dict[str, tuple[str, ...]]] = {
        "gift": {"push": (*gift, "share"), "pull": (*gift, "get")},
        "aws": {"push": (*sync, "data", "BUCKET"), "pull": (*sync, "BUCKET", "data")},
        "dvc": {"push": ("dvc", "push", *options), "pull": ("dvc", "pull", *options)},
    }
    if not shutil.which("aws"):
        del clients["aws"]
    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "project"
        make_project(project, files, size)
        seconds: dict[tuple[str, str], float] = {}
        for who, commands in clients.items():
            bucket, clone = f"s3://{who}-{files}", Path(name) / who
            boto3.resource("s3", endpoint_url=url).create_bucket(Bucket=bucket.removeprefix("s3://"))
            run(project, *gift, "remote", bucket, "--endpoint", url)
            run(project, "dvc", "remote", "modify", "store", "read_timeout", "600")  # moto is slow
            run(project, "git", "commit", "--quiet", "--all", "--message", who)
            run(project, "git", "clone", "--quiet", ".", str(clone))
            for what, folder in {"push": project, "pull": clone}.items():
                moved.clear()
                took = seconds[what, who] = run(folder, *(word.replace("BUCKET", bucket) for word in commands[what]))
                figures = f"{took:.1f} s, {moved[what] / 1e6:.1f} MB. Ratio of gift: {seconds[what, 'gift'] / took:.2f}"
                print(f"{files} files, {what} by {who}: {figures}", flush=True)
            shutil.rmtree(clone)


if __name__ == "__main__":
    address, bytes_moved = serve()
    os.environ |= KEYS | {"AWS_ENDPOINT_URL": address}
    for words in sys.argv[1:] or ("140",):
        count, _, file_size = words.partition("x")
        measure(int(count), int(file_size or BYTES), address, bytes_moved)
