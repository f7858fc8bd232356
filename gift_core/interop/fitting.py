"""Loads foreign weights into an open_clip model if they fit, and chooses the activation that they need."""

from __future__ import annotations

from collections.abc import Mapping

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict

from gift_core.errors import UserError
from gift_core.interop.checkpoints import Checkpoint
from gift_core.quantities import first_names

Shapes = Mapping[str, tuple[int, ...]]

QUICK_SUFFIX = "-quickgelu"  # of open_clip's names: ViT-B-16 computes GELU, ViT-B-16-quickgelu QuickGELU
_COUNTER = "num_batches_tracked"  # of BatchNorm; files of old versions lack it, and it has no effect here
_ADVICE = "Name their architecture in model.name. The file should hold a whole CLIP, image and text tower."
_EXAMPLES = 3  # names shown of each kind of mismatch


def fill_weights(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], location: str) -> None:
    """Overwrites every weight and buffer of `model` with those of `tensors`, widened to float32.

    UserError with examples if a name or a shape differs, and for integers in place of weights.
    # differs: open_clip silently interpolates position embeddings of another size; here they are refused.
    """
    renamed = for_model(model, tensors)
    expected = _shapes(model.state_dict())
    problems = _mismatches(expected, _shapes(renamed))
    if problems:
        raise UserError(f"{location}: the weights do not fit: {'; '.join(problems)}. {_ADVICE}")
    integers = [name for name, value in model.state_dict().items() if _is_integer(renamed.get(name), value)]
    if integers:
        what = f"integers in place of floating-point weights ({first_names(integers, _EXAMPLES)})"
        raise UserError(f"{location}: {what}. Fetch or save the weights again, in float32 or half precision.")
    missing = {name: value for name, value in model.state_dict().items() if name not in renamed}
    model.load_state_dict({**missing, **renamed})


def for_model(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`tensors` under the names that `model` uses.

    Models keep the parts of the text tower in `.text` or in themselves; Apple's MobileCLIP has names of its own.
    """
    named = dict(convert_state_dict(model, dict(tensors)))
    if hasattr(model, "text"):
        named = dict(convert_to_custom_text_state_dict(named))
    elif not any(name.startswith("transformer.") for name in named):
        named = {name.removeprefix("text."): value for name, value in named.items()}
    for name in ("logit_scale", "logit_bias"):  # 0- or 1-dimensional, by version
        own = getattr(model, name, None)
        if own is not None and name in named and named[name].numel() == 1:
            named[name] = named[name].reshape(own.shape)
    return named


def choose_activation(
    architecture: str, computes_quick: bool, checkpoint: Checkpoint, location: str
) -> tuple[bool, str]:
    """(whether the model must compute QuickGELU, a sentence that says why and how to choose otherwise).

    The checkpoint decides. Where it does not say, the architecture's own activation is used. UserError if the
    architecture named has QuickGELU and the weights were trained with GELU.
    # differs: open_clip computes the architecture's activation for every file, whatever its weights need.
    """
    quick = checkpoint.quick_gelu
    if quick is None:
        return computes_quick, f"{_label(computes_quick)} assumed: {checkpoint.evidence}{_alternative(architecture)}"
    if computes_quick and not quick:
        other = architecture.removesuffix(QUICK_SUFFIX)
        what = f"the weights were trained with GELU ({checkpoint.evidence}), {architecture} computes QuickGELU"
        raise UserError(f"{location}: {what}. Name the other: model.name: {other}.")
    if quick and not computes_quick:
        return True, f"QuickGELU in place of the GELU of {architecture}: {checkpoint.evidence}"
    return quick, f"{_label(quick)}: {checkpoint.evidence}"


def tag_activation(architecture: str, tag: str, *, computes_quick: bool, forced: bool) -> str:
    """The same sentence for weights that open_clip knows by a tag."""
    if forced and not computes_quick:
        return f"QuickGELU in place of the GELU of {architecture}: open_clip knows that {tag} was trained with it"
    return f"{_label(computes_quick)}: as {architecture} computes, and open_clip knows nothing else of {tag}"


def _is_integer(found: torch.Tensor | None, own: torch.Tensor) -> bool:
    return found is not None and own.is_floating_point() and not found.is_floating_point()


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _mismatches(expected: Shapes, found: Shapes) -> list[str]:
    missing = [name for name in expected if name not in found and not name.endswith(_COUNTER)]
    extra = [name for name in found if name not in expected]
    other = [
        f"{name} is {_size(found[name])}, expected {_size(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    kinds = {"missing": missing, "not part of the model": extra, "of another shape": other}
    return [f"{len(names)} {kind} ({first_names(names, _EXAMPLES)})" for kind, names in kinds.items() if names]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def _label(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def _alternative(architecture: str) -> str:
    """Advice that names the architecture with the other activation, where open_clip has it."""
    is_quick = architecture.endswith(QUICK_SUFFIX)
    other = architecture.removesuffix(QUICK_SUFFIX) if is_quick else f"{architecture}{QUICK_SUFFIX}"
    if other not in open_clip.list_models():
        return ""
    if is_quick:
        return f"; for weights trained with GELU: model.name: {other}"
    return f"; weights that descend from OpenAI's CLIP need QuickGELU: model.name: {other}"
