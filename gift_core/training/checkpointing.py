"""Gradient checkpointing: towers keep the inputs of their layers alone, and compute the rest again on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from open_clip.hf_model import HFTextEncoder
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, VisionTransformer
from torch.utils.checkpoint import checkpoint

from gift_core.clip.model import Clip
from gift_core.errors import UserError

RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")


@contextmanager
def checkpointed(clip: Clip) -> Iterator[None]:
    """Within the block both towers of `clip` are checkpointed when they are in training mode.

    UserError where a tower cannot be. open_clip's own switch is not used as it is: it passes over what cannot be
    checkpointed in silence, and it cannot be turned off again for every tower.
    """
    with ExitStack() as stack:
        for side, tower in towers(clip.model).items():
            stack.enter_context(_checkpointed_tower(side, tower))
        yield


def towers(model: Any) -> dict[str, Any]:
    """The image tower and the text tower; open_clip.CLIP keeps the parts of the latter on itself."""
    return {"image": model.visual, "text": getattr(model, "text", model)}


def _checkpointed_tower(side: str, tower: Any) -> AbstractContextManager[None]:
    for kind, switch in SWITCHES.items():
        if isinstance(tower, kind):
            return switch(side, tower)
    if hasattr(getattr(tower, "transformer", None), "grad_checkpointing"):  # open_clip.CLIP itself
        return _transformer(side, tower)
    raise _refused(side, tower, "it has no layers that open_clip can checkpoint")


@contextmanager
def _transformer(side: str, tower: Any) -> Iterator[None]:
    tower.transformer.grad_checkpointing = True
    try:
        yield
    finally:
        tower.transformer.grad_checkpointing = False


@contextmanager
def _resnet(side: str, tower: Any) -> Iterator[None]:
    """open_clip's switch does nothing for its ResNets: each of their four stages is checkpointed as a whole."""
    stages = [getattr(tower, name) for name in RESNET_STAGES]
    for stage in stages:
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=False)
    try:
        yield
    finally:
        for stage in stages:
            del stage.forward  # the class's own appears again


@contextmanager
def _timm(side: str, tower: Any) -> Iterator[None]:
    try:
        tower.trunk.set_grad_checkpointing(True)
    except Exception as error:  # timm's models refuse with whatever they like: an assertion, a missing attribute
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _refused(side, tower.trunk, f"timm says: {reason}") from error
    try:
        yield
    finally:
        tower.trunk.set_grad_checkpointing(False)


@contextmanager
def _transformers(side: str, tower: Any) -> Iterator[None]:
    model = tower.transformer
    if not model.supports_gradient_checkpointing:
        raise _refused(side, model, "transformers has no checkpointing for it")
    # its older names are deprecated in transformers 5, the newer ones unknown before
    family = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    options = {f"{family}_checkpointing_kwargs": {"use_reentrant": False}}
    getattr(model, f"{family}_checkpointing_enable")(**options)
    try:
        yield
    finally:
        getattr(model, f"{family}_checkpointing_disable")()


Switch = Callable[[str, Any], AbstractContextManager[None]]
SWITCHES: dict[type, Switch] = {
    VisionTransformer: _transformer,
    TextTransformer: _transformer,
    ModifiedResNet: _resnet,
    TimmModel: _timm,
    HFTextEncoder: _transformers,
}


def _refused(side: str, tower: Any, reason: str) -> UserError:
    return UserError(
        f"training.gradient_checkpointing: the model's {side} tower ({type(tower).__name__}) cannot be checkpointed: "
        f"{reason}. Set it to false, and training.micro_batch_size to a smaller number to save memory."
    )
