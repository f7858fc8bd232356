"""`python -m stages.dvc.fork_server COMMAND...` runs a command, such as `dvc repro`, whose stages then start quickly.

Importing PyTorch, open_clip and diffusers takes a stage 5 to 10 seconds. The fork server imports them once, while the
first stage runs, and forks a process for each stage. The code of this project is imported after the fork, so a stage
runs the code as it is at that time. A stage is the same command with and without a server, and writes the same bytes.

The server is used on Linux without a GPU: a process that has looked for a GPU cannot be forked safely.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, a GPU of Windows in WSL, AMD
PRELOADED = (
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "open_clip",
    "pandas",
    "psutil",
    "pyarrow.parquet",
    "pydantic",
    "ruamel.yaml",
    "safetensors.torch",
    "typer.rich_utils",
    "webdataset",
)
# All other variables must be equal in the server and in a stage, because libraries read some when they are imported.
MAY_DIFFER = ("DVC_", "GIFT_", "OLDPWD", "PS1", "PWD", "SHLVL", "_")
ANSWER_SECONDS = 60.0  # until the server answers: it may be loading its libraries
PR_SET_PDEATHSIG = 1  # of prctl(2)
PARENT_SECONDS = 1.0  # between two checks of whether the command still runs


def run_in_server(package: str) -> int | None:
    """Has the fork server run this process's command line. Returns its exit code, None if there is no such server.

    A stage whose process was killed has the exit code of the signal, and so has one whose fate is unknown.
    """
    from gift_core.process_variables import FORK_SERVER

    if FORK_SERVER not in os.environ:
        return None
    former = signal.getsignal(signal.SIGINT)
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile() as answers:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(os.environ[FORK_SERVER])
            if json.loads(answers.readline()) != _settings():
                return None
            caller = {"argv": sys.argv, "path": sys.path[0], "folder": str(Path.cwd()), "environment": dict(os.environ)}
            request = {"package": package, "process": os.getpid(), "group": os.getpgrp(), **caller}
            socket.send_fds(connection, [b"0"], [0, 1, 2])
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the stage, which is in the same process group
            connection.sendall(json.dumps(request).encode() + b"\n")
        except (OSError, ValueError):
            signal.signal(signal.SIGINT, former)
            return None
        connection.settimeout(None)  # the process at the other end waits for the stage, and ends with it
        code = int(answers.readline() or -signal.SIGKILL)
        if code < 0:
            cause = " The system does that where memory is insufficient." if code == -signal.SIGKILL else ""
            sys.stderr.write(f"error: the process of this stage was ended by {signal.Signals(-code).name}.{cause}\n")
        return _exit_code(code)


def limit_spinning() -> None:
    """Sets how long PyTorch's threads spin while they wait for each other. Variables of the user are kept.

    The default is so long that other busy processes make a stage up to forty times slower (docs/log.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def main(command: Sequence[str]) -> int:
    """Runs the command with a fork server beside it, and returns the exit code of the command.

    A second `dvc repro` does not start: it would end in the middle, with DVC's message about a busy file.
    """
    from gift_core.errors import UserError  # not above: a stage imports the code of its own project
    from gift_core.process_variables import PLAN

    if command[0] == "dvc":
        from .pipeline import require_free

        try:
            require_free(Path())
        except UserError as error:
            sys.exit(f"error: {error}")
    if list(command) == ["dvc", "repro"]:
        plan = Path(".gift", "plan.json").absolute()
        plan.unlink(missing_ok=True)
        os.environ[PLAN] = str(plan)
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what Ctrl-C does
    limit_spinning()
    with serving(os.environ) as environment:
        done = subprocess.run(command, env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, former))
    return _exit_code(done.returncode)


@contextmanager
def serving(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yields the environment with a fork server for stages that run in it. Without changes where none can be used.

    The server ends with the block, or with this process.
    """
    has_gpu = any(Path(driver).exists() for driver in GPU_DRIVERS) and environment.get("CUDA_VISIBLE_DEVICES") != ""
    if sys.platform != "linux" or has_gpu:
        yield dict(environment)
        return
    from gift_core.process_variables import FORK_SERVER
    from gift_core.work.os_errors import socket_folder

    with socket_folder("gift-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/socket"
        listener.bind(address)
        listener.listen()
        call = f"serve({os.getpid()}, {listener.fileno()}, {folder!r}, {PRELOADED!r})"
        server = subprocess.Popen(
            [sys.executable, "-c", f"from {__package__}.fork_server import serve; {call}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            preexec_fn=os.setpgrp,  # Ctrl-C must not end it before the stages
        )
        listener.close()  # once the server has ended, nothing accepts a connection
        try:
            yield {**environment, FORK_SERVER: address}
        finally:
            server.kill()
            server.wait()


def serve(parent: int, descriptor: int, folder: str, libraries: Sequence[str]) -> None:
    """Forks a process for each stage until the process `parent` has ended. The first one loads its libraries itself.

    `descriptor`: of the socket in `folder`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets processes that have ended
    settings = json.dumps(_settings()).encode() + b"\n"
    listener = socket.socket(fileno=descriptor)
    listener.settimeout(PARENT_SECONDS)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            _run(*_receive(connection, settings))
        connection.close()
        for name in libraries:
            with suppress(ImportError):
                importlib.import_module(name)
        gc.freeze()  # a stage does not look for garbage in what it has from here
    shutil.rmtree(folder, ignore_errors=True)


def _receive(connection: socket.socket, settings: bytes) -> tuple[dict[str, Any], Sequence[int]]:
    """Returns the request for a stage and its streams, in a process for it. This one waits, and sends its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.settimeout(None)
    with suppress(OSError, ValueError):
        connection.sendall(settings)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        request = json.loads(connection.makefile().readline())
        parent, stage = os.getpid(), os.fork()
        if stage == 0:
            connection.close()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # nobody would know of the result
            if os.getppid() != parent:  # it has ended already
                os._exit(1)
            return request, streams
        code = os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])
        connection.sendall(f"{code}\n".encode())
    os._exit(0)


def _run(request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Takes the place of the process that sent the request: its streams, process group, environment and arguments."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.setpgid(0, request["group"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1 if os.isatty(1) else -1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv, sys.path[0] = request["argv"], request["path"]
    package, code = request["package"], 1
    try:
        importlib.import_module(f"{package}.dvc.interruption").started_as = request["process"]  # type: ignore[attr-defined]
        importlib.import_module(f"{package}.app").main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does, which then takes 1.5 s to free memory
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


def _settings() -> dict[str, Any]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(MAY_DIFFER)}
    return {"python": sys.prefix, "session": os.getsid(0), "variables": variables}


def _exit_code(code: int) -> int:
    """The code that a shell reports: 128 + the number of the signal that ended the process."""
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
