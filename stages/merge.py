"""merge A B: averages the weights of two models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .export import require_new
from .output import AsJson, print_json

New = Annotated[
    str, typer.Argument(metavar="B", help="The new model, with the same architecture as A.", show_default=False)
]
Start = Annotated[str, typer.Argument(metavar="A", help="The start model: a folder or file.", show_default=False)]
Alpha = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="The share of the new weights: 0 gives A, 1 gives B.",
        min=0.0,
        max=1.0,
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to write.", show_default=False)]


def merge(start: Start, new: New, alpha: Alpha, out: Out, as_json: AsJson = False) -> None:
    """Average the weights of two models, alpha * B + (1 - alpha) * A (WiSE-FT), into an open_clip folder.

    Example: gift merge data/5_models/pretrained data/5_models/gift/digits --alpha 0.8 --out merged
    """
    from gift_core.artifacts.model_folder import require_model_path

    require_model_path(start)
    require_model_path(new)
    from gift_core.averaging import merge_clips
    from gift_core.clip.disk_space import model_bytes
    from gift_core.clip.model import save_clip
    from gift_core.errors import UserError
    from gift_core.interop.importing import model_identity, open_model
    from gift_core.work.publishing import require_free_bytes

    if not 0 <= alpha <= 1:  # typer's own bounds accept nan
        raise UserError(f"--alpha {alpha}: should be from 0 to 1. It is the share of the new weights.")
    require_new(out, start, new)
    old_clip, new_clip = open_model(start, device="cpu"), open_model(new, device="cpu")
    require_free_bytes(out, model_bytes(new_clip), "merge")
    merged = merge_clips(old_clip, new_clip, alpha=alpha)
    save_clip(merged, out, {"merge": {"alpha": alpha, "start": model_identity(start), "new": model_identity(new)}})
    if as_json:
        print_json({"model": out, "alpha": alpha, "start": start, "new": new})
        return
    typer.echo(f"{out}: {alpha:g} of {new}, {1 - alpha:g} of {start}")
