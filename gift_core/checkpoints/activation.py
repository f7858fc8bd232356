"""QuickGELU or GELU: what the weights were trained with, as far as they say, against what an architecture computes."""

from __future__ import annotations

import open_clip

from gift_core.checkpoints.containers import Checkpoint
from gift_core.errors import UserError

SUFFIX = "-quickgelu"  # of open_clip's names: ViT-B-16 computes GELU, ViT-B-16-quickgelu QuickGELU


def settle_activation(architecture: str, computes_quick: bool, checkpoint: Checkpoint, place: str) -> tuple[bool, str]:
    """(whether the model has to compute QuickGELU, a sentence that says why and how to choose otherwise).

    What the weights say counts. Where they say nothing the architecture's own activation is taken. UserError where
    somebody named a QuickGELU architecture and the weights say GELU.
    # differs: open_clip computes the architecture's activation for every file, whatever its weights need.
    """
    quick = checkpoint.quick_gelu
    if quick is None:
        return computes_quick, f"{_name(computes_quick)} assumed: {checkpoint.evidence}{_choice(architecture)}"
    if computes_quick and not quick:
        other = architecture.removesuffix(SUFFIX)
        what = f"the weights were trained with GELU ({checkpoint.evidence}), {architecture} computes QuickGELU"
        raise UserError(f"{place}: {what}. Name the other: model.name: {other}.")
    if quick and not computes_quick:
        return True, f"QuickGELU in place of the GELU of {architecture}: {checkpoint.evidence}"
    return quick, f"{_name(quick)}: {checkpoint.evidence}"


def tag_activation(architecture: str, tag: str, *, computes_quick: bool, forced: bool) -> str:
    """The same sentence for weights that open_clip knows by a tag."""
    if forced and not computes_quick:
        return f"QuickGELU in place of the GELU of {architecture}: open_clip knows that {tag} was trained with it"
    return f"{_name(computes_quick)}: as {architecture} computes, and open_clip knows nothing else of {tag}"


def _name(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def _choice(architecture: str) -> str:
    other = architecture.removesuffix(SUFFIX) if architecture.endswith(SUFFIX) else f"{architecture}{SUFFIX}"
    if other not in open_clip.list_models():
        return ""
    if other.endswith(SUFFIX):
        return f"; weights that descend from OpenAI's CLIP need QuickGELU: model.name: {other}"
    return f"; for weights trained with GELU: model.name: {other}"
