"""Starts `gift`, `dvc` and Python scripts in milliseconds: a server that has loaded the libraries forks each of them.

`python -m tests.preloaded SOCKET LIBRARY...` is the server. The commands in a folder are its clients (`install`). They
pass on their arguments, folder, environment, umask, input and output, and end with the exit code. The commands are the
real ones. The tests would otherwise spend minutes on importing DVC and torch.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

DVC = (
    "dvc.cli", "dvc.cli.parser", "dvc.data_cloud", "dvc.repo", "dvc.repo.push", "dvc.repo.reproduce", "dvc.rwlock",
    "dvc_data.index", "dvc_render.vega", "flatten_dict", "ruamel.yaml", "scmrepo.git", "zc.lockfile",
)  # fmt: skip
GIFT = (
    *DVC, "torch", "torchvision", "open_clip", "diffusers", "transformers", "pandas", "webdataset",
    "transformers.models.clip.modeling_clip", "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "gift_core.method.training.loop", "gift_core.method.evaluation", "gift_core.generators.pipeline",
    "gift_core.report.page", "stages.app",
)  # fmt: skip
CLIENT = """\
#!{python} -SE
import json, os, socket, sys
words = [{name!r}, *sys.argv[1:]]
if words[0] == "python" and words[1:3] != ["-m", "stages"]:
    os.execv({python!r}, [{python!r}, *words[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({server!r})
    umask = os.umask(0o077)
    request = json.dumps([words, os.getcwd(), dict(os.environ), umask]).encode()
    socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(request)
    sys.exit(int(server.recv(8) or b"70"))
"""


def install(folder: Path, server: Path, *, names: Sequence[str] = ("gift", "dvc", "python", "script")) -> None:
    """Writes programs with these names into a folder: `script` runs a file with Python code."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(
            CLIENT.format(python=sys.executable, name=name, server=str(server)), encoding="utf-8"
        )
        (folder / name).chmod(0o755)


@contextmanager
def serving(
    socket_path: Path, *, code: Path, environment: dict[str, str], libraries: Sequence[str] = GIFT
) -> Iterator[None]:
    """Runs the server with the project in `code` during the block, at most as long as this process."""
    words = [sys.executable, "-m", "tests.preloaded", str(socket_path), *libraries]
    process = subprocess.Popen(words, cwd=code, env=environment | {"PYTHONPATH": str(code)})
    try:
        deadline = time.monotonic() + 240
        while not socket_path.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server of commands does not start")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def serve(path: str, *libraries: str) -> None:
    """Forks a process for each client, as long as the process lives that started this one."""
    parent = os.getppid()
    for library in libraries:
        importlib.import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(32)
        listening.settimeout(1)
        while os.getppid() == parent:
            with suppress(TimeoutError):
                client, _ = listening.accept()
                if os.fork() == 0:
                    listening.close()
                    client.settimeout(None)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    answer(client)
                client.close()


def answer(client: socket.socket) -> None:
    """Runs the command of a client in a process of its own, and sends the exit code. Does not return."""
    head, ancillary, _, _ = client.recvmsg(4, socket.CMSG_SPACE(3 * 4))
    streams = array.array("i", ancillary[0][2])
    size, text = int.from_bytes(head, "big"), b""
    while len(text) < size:
        text += client.recv(size - len(text))
    words, folder, environment, umask = json.loads(text)
    child = os.fork()
    if child == 0:
        client.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.umask(umask)
        run(words, folder, environment)
    for stream in streams:
        os.close(stream)
    client.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    os._exit(0)


def run(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Becomes the command: as if it had been started in this folder, with this environment. Does not return."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [folder, *(each for each in sys.path if each not in ("", folder))]
    code: Any = 0
    try:
        code = command(words)
    except SystemExit as done:
        code = done.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def command(words: list[str]) -> Any:
    name, *rest = words
    if name == "dvc":
        from dvc.cli import main

        return main(rest)
    if name == "script":
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")
        return 0
    from stages.app import main as gift

    sys.argv = [name, *(rest[2:] if name == "python" else rest)]
    return gift()


if __name__ == "__main__":
    serve(*sys.argv[1:])
