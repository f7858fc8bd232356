"""`python -m stages.dvc.helper OFFER` helps a stage of `gift run` with its units (gift_core.work.spread)."""

from __future__ import annotations

import sys
from pathlib import Path

from gift_core.errors import UserError
from gift_core.work.spread import help_with

from .fork_server import limit_spinning
from .interruption import interruptible

if __name__ == "__main__":
    limit_spinning()
    try:
        with interruptible():
            offer = Path(sys.argv[1])
            if offer.exists():  # the stage may have finished
                help_with(offer)
    except (UserError, KeyboardInterrupt) as error:
        sys.exit(f"error: {error}")
