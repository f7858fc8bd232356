"""All checks that need a GPU, in pieces of at most 8 minutes: tests marked gpu, then benchmarks (`make gpu-checks`).

    python -m benchmarks.gpu.checks                            # all pieces that have not succeeded yet
    python -m benchmarks.gpu.checks --pieces training memory   # these pieces, again
    python -m benchmarks.gpu.checks --device cpu --size cut    # try all of it without a GPU, in a quarter of an hour

Each piece writes into a folder of its own below --out at once: output.txt, its tables, and result.json at its end.
An interrupted run loses the piece that was running, and the next run continues with it. It needs neither DVC nor a
network, nor an installation of this project (docs/full_size.md says what to bring along).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.gpu.pieces import LIMIT, PIECES, Piece
from gift_core.errors import GiftError, UserError, lookup

ROOT = Path(__file__).resolve().parents[2]
Result = dict[str, Any]


def main() -> int:
    """Runs the pieces and prints a table. Returns 1 if a piece failed or did not run, 0 otherwise."""
    choices = parse()
    try:
        by_name = {piece.name: piece for piece in PIECES}
        chosen = [lookup(by_name, name, "--pieces") for name in choices.pieces or by_name]
        device = require_device(choices.device)
        results = [
            (None if choices.pieces else finished(piece, choices)) or run(piece, choices, device) for piece in chosen
        ]
    except GiftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    page = table(results, device)
    (choices.out / "summary.md").write_text(page, encoding="utf-8")
    print(f"\n{page}")
    return 0 if all(result["exit_code"] == 0 for result in results) else 1


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(piece.name for piece in PIECES)
    parser.add_argument("--pieces", nargs="+", metavar="PIECE", help=names)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the code")
    parser.add_argument(
        "--size", choices=("full", "cut"), default="full", help="of the benchmarks; the tests are small"
    )
    parser.add_argument("--out", type=Path, default=Path(".gift/gpu_checks"))
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for a piece")
    return parser.parse_args()


def require_device(name: str) -> str:
    """Returns what the device is called. UserError if this machine lacks it."""
    import torch

    from gift_core.torch_devices import resolve_device

    try:
        device = resolve_device(name)
    except UserError as error:
        raise UserError(f"--{error} To try the checks without a GPU: --device cpu --size cut.") from error
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def finished(piece: Piece, choices: argparse.Namespace) -> Result | None:
    """Returns the result of an earlier run that succeeded with the same command, or None."""
    file = choices.out / piece.name / "result.json"
    try:
        result: Result = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if result.get("exit_code") != 0 or result.get("command") != command(piece, choices):
        return None
    print(f"{piece.name}: done before, {result['seconds']:.0f} s", flush=True)
    return result


def command(piece: Piece, choices: argparse.Namespace) -> list[str]:
    """Returns the arguments of Python."""
    values = {"device": choices.device, "out": str((choices.out / piece.name).resolve())}
    return [part.format(**values) for part in (piece.full if choices.size == "full" else piece.cut)]


def run(piece: Piece, choices: argparse.Namespace, device: str) -> Result:
    """Runs a piece in a process of its own and writes its result."""
    folder = choices.out / piece.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").unlink(missing_ok=True)
    print(f"{piece.name}: {piece.what} ...", end=" ", flush=True)
    arguments, started = command(piece, choices), time.monotonic()
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        exit_code = limited([sys.executable, *arguments], output, choices.limit)
    result = {
        "piece": piece.name,
        "command": arguments,
        "exit_code": exit_code,
        "seconds": round(time.monotonic() - started, 1),
        "tests": counted(folder / "tests.xml"),
        "device": device,
        "date": str(datetime.date.today()),
    }
    unfinished = folder / "result.json.new"
    unfinished.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(folder / "result.json")
    print(outcome(result), flush=True)
    return result


def limited(arguments: Sequence[str], output: Any, seconds: float) -> int | None:
    """Returns the exit code of a command, and None if it was ended with all its processes at the limit of time."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    started = subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return started.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also after Ctrl-C, and for what the command left running
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def counted(file: Path) -> dict[str, int] | None:
    """Returns the numbers of tests, failures, errors and skipped tests in a JUnit file, None without one."""
    try:
        suite = ElementTree.parse(file).getroot().find("testsuite")
    except (OSError, ElementTree.ParseError):
        return None
    assert suite is not None
    return {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}


def outcome(result: Result) -> str:
    """Returns how a piece ended, in a few words."""
    code, counts = result["exit_code"], result["tests"]
    ended = {None: "STOPPED at the limit of time", 0: "ok"}.get(code, f"FAILED (exit code {code})")
    numbers = ", ".join(f"{count} {name}" for name, count in (counts or {}).items() if count)
    return f"{ended}, {result['seconds']:.0f} s{f', {numbers}' if numbers else ''}"


def table(results: Sequence[Result], device: str) -> str:
    """Returns the Markdown table of the pieces."""
    rows = [f"| {result['piece']} | {outcome(result)} |" for result in results]
    return "\n".join([f"# Checks on {device}", "", "| piece | result |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.exit(main())
