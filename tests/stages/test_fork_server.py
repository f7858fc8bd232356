"""The fork server runs a stage as if it had been started in the usual way."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.conftest import PROJECT
from tests.stages.toy_pipeline import wait

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server is used on Linux")

# A program like `python -m stages`: its app says what it finds, and does what its argument says.
PROGRAM = {
    "__init__.py": "",
    "__main__.py": """
import sys
from stages.dvc.fork_server import run_in_server
code = run_in_server("program")
if code is None:
    from program import app
    app.main()
sys.exit(code)
""",
    "dvc/__init__.py": "",
    "dvc/interruption.py": "import stages.dvc.interruption, sys\nsys.modules[__name__] = stages.dvc.interruption\n",
    "app.py": """
import atexit, os, signal, sys, time
from pathlib import Path
from stages.dvc.interruption import Interruption, interruptible
def main():
    how = sys.argv[1]
    print("preloaded" if "wave" in sys.modules else "not preloaded", Path.cwd(), os.environ["NAMED"], *sys.argv[1:])
    print(sys.stdin.read().strip(), file=sys.stderr)
    atexit.register(lambda: print("at exit"))
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise ValueError("broken")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "wait":
        try:
            with interruptible():
                Path("pids").write_text(f"{os.getpid()} {os.getppid()}")
                time.sleep(60)
        except Interruption as error:
            os.kill(os.getpid(), signal.SIGTERM)  # a second signal while it ends
            Path("stopped").write_text(str(error))
            sys.exit(error.exit_code)
""",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the program, and another one for temporary files."""
    (tmp_path / "program" / "dvc").mkdir(parents=True)
    for name, text in PROGRAM.items():
        (tmp_path / "program" / name).write_text(text)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT}{os.pathsep}{tmp_path}")
    monkeypatch.setenv("NAMED", "named")
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


def started(folder: Path, *command: str, **options: object) -> subprocess.Popen[str]:
    """The command beside a fork server that loads the module `wave` only, after a first stage."""
    code = (
        "import stages.dvc.fork_server as server, sys; server.PRELOADED = ('wave',); server.GPU_DRIVERS = ()\n"
        "import gift_core.work.os_errors; gift_core.work.os_errors.MAX_TEMPORARY_BYTES = 90\n"
        "sys.exit(server.main(sys.argv[1:]))"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-c", code, *command], cwd=folder, text=True, start_new_session=True, **pipes, **options
    )


def run(folder: Path, *command: str) -> tuple[int, str, str]:
    process = started(folder, *command)
    output, errors = process.communicate("from stdin", timeout=60)
    return process.returncode, output, errors


def second(*words: str, variable: str = "NAMED=named") -> tuple[str, ...]:
    """The program as the second stage of a command, with a variable of its own."""
    first = f"{shlex.join(program('first'))} </dev/null >/dev/null 2>&1"
    return ("sh", "-c", f"{first}; exec env {variable} {shlex.join(program(*words))}")


def program(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "program", *words)


def test_the_code_of_the_project_is_imported_when_the_stage_starts(folder: Path) -> None:
    app = folder / "program" / "app.py"
    stage = f"{shlex.join(program('say'))} </dev/null"
    script = f"{stage} && {stage} && echo 'main = lambda: print(42)' > {shlex.quote(str(app))} && {stage}"
    code, output, _ = run(folder, "sh", "-c", script)
    lines = output.splitlines()
    assert code == 0 and lines[0].startswith("not preloaded") and lines[2].startswith("preloaded") and lines[-1] == "42"


def test_a_stage_gets_the_arguments_folder_environment_and_streams_of_its_own_process(folder: Path) -> None:
    code, output, errors = run(folder, *second("say", "a b"))
    assert code == 0 and output == f"preloaded {folder} named say a b\nat exit\n"
    assert errors == "from stdin\n"
    assert list((folder / "temporary").iterdir()) == []


@pytest.mark.parametrize(("how", "expected"), [("exit", 3), ("raise", 1), ("kill", 128 + signal.SIGKILL)])
def test_the_exit_code_is_that_of_the_stage(folder: Path, how: str, expected: int) -> None:
    code, output, errors = run(folder, *second(how))
    assert code == expected and (how == "kill" or output.startswith("preloaded"))
    assert ("ValueError: broken" in errors) == (how == "raise")


def test_ctrl_c_stops_the_stage_and_the_server(folder: Path) -> None:
    process = started(folder, *program("wait"))
    process.stdin.close()
    wait((folder / "pids").is_file)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert (folder / "stopped").read_text() == "interrupted."
    assert process.stderr is not None and "Traceback" not in process.stderr.read()
    wait(lambda: not alive(folder) and not list((folder / "temporary").iterdir()))


def test_a_stage_ends_when_the_command_that_started_it_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "finetune@1")
    command = f"'{sys.executable}' -m program wait </dev/null; true"
    process = started(folder, sys.executable, "-c", f"import os; os.system({command!r})")
    wait((folder / "pids").is_file)
    launcher = next(child for child in psutil.Process(process.pid).children() if "os.system" in child.cmdline()[-1])
    launcher.kill()
    wait((folder / "stopped").is_file)
    assert (folder / "stopped").read_text() == "stopped: the `dvc repro` that started it has ended."
    process.wait(timeout=20)


def alive(folder: Path) -> bool:
    """Whether the stage, or the process of the server that waits for it, still runs."""
    return any(map(psutil.pid_exists, map(int, (folder / "pids").read_text().split())))
