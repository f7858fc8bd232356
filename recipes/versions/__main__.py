"""`make versions`: records the hashes of the code as those of the present versions.

With ARGS=--compare it looks for stages that write something else at the same version, instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gift_core.code.versions import Code
from recipes.versions.compare import forgotten
from recipes.versions.experiments import EXPERIMENTS
from recipes.versions.record import record

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Records, or compares."""
    parser = argparse.ArgumentParser(prog="make versions", description="Records the code of the present versions.")
    parser.add_argument("--compare", action="store_true", help="instead, look for a version that was not raised")
    if not parser.parse_args().compare:
        print(f"Recorded. {len(Code(ROOT).edited)} files were edited since the last time.")  # noqa: T201
        record(ROOT)
    elif found := forgotten(ROOT, EXPERIMENTS):
        sys.exit("\n".join(found))
    else:
        print("Every stage writes what it wrote before, or has a new version.")  # noqa: T201


if __name__ == "__main__":
    main()
