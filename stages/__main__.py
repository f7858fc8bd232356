"""`python -m stages NAME`, installed as `gift`: the stages of the pipeline and the commands for users (see app.py)."""

from __future__ import annotations

import os
import signal
import sys

from gift_core.process_variables import PLAN

from .dvc.fork_server import limit_spinning, run_in_server


def main() -> None:
    """The console command `gift`. A stage runs in the fork server, where one is running."""
    limit_spinning()
    if PLAN in os.environ:
        from .dvc.time_left import announce

        announce()
    code = run_in_server(__package__)
    if code is None:
        try:
            from . import app
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] in ("gift_core", "stages"):
                raise
            sys.exit(
                f"error: {sys.executable} has no module {error.name}, so it is not the Python of GIFT's environment. "
                "Activate that first: source .venv/bin/activate (make setup makes it)"
            )
        try:
            app.main()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C while Python ends would replace the exit code
    sys.exit(code)


if __name__ == "__main__":
    main()
