"""Gradient checkpointing: the towers keep only the inputs of their layers and compute the rest again when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP
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

    UserError if a tower does not support it. open_clip's own set_grad_checkpointing is not used, because it silently
    ignores towers that do not support it, and cannot be turned off again for every tower.
    """
    with ExitStack() as stack:
        for side, tower in towers(clip.model).items():
            switch = next((switch for kind, switch in SWITCHES.items() if isinstance(tower, kind)), None)
            try:
                if switch is None:
                    raise TypeError("it has no layers that open_clip can checkpoint")
                stack.callback(switch(tower))
            except Exception as error:  # models of timm and transformers raise any kind of error
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UserError(
                    f"training.gradient_checkpointing: the model's {side} tower ({type(tower).__name__}) does not "
                    f"support it: {reason}. Set it to false. To save memory, lower training.micro_batch_size."
                ) from error
        yield


def towers(model: Any) -> dict[str, Any]:
    """Returns the image tower and the text tower. In open_clip.CLIP the text tower is the model itself."""
    return {"image": model.visual, "text": getattr(model, "text", model)}


def _transformer(tower: Any) -> Callable[[], object]:
    tower.transformer.grad_checkpointing = True
    return lambda: setattr(tower.transformer, "grad_checkpointing", False)


def _resnet(tower: Any) -> Callable[[], object]:
    """Checkpoints each of the four stages as a whole. open_clip's own setting has no effect on its ResNets."""
    stages = [getattr(tower, name) for name in RESNET_STAGES]
    for stage in stages:
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=False)
    return lambda: [vars(stage).pop("forward") for stage in stages]  # the method of the class is visible again


def _timm(tower: Any) -> Callable[[], object]:
    tower.trunk.set_grad_checkpointing(True)
    return lambda: tower.trunk.set_grad_checkpointing(False)


def _transformers(tower: Any) -> Callable[[], object]:
    model = tower.transformer
    # transformers 5 deprecates the older names, and earlier versions do not have the newer ones
    family = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    options = {f"{family}_checkpointing_kwargs": {"use_reentrant": False}}
    getattr(model, f"{family}_checkpointing_enable")(**options)
    disable: Callable[[], object] = getattr(model, f"{family}_checkpointing_disable")
    return disable


# Each turns it on, and returns what turns it off.
SWITCHES: dict[type, Callable[[Any], Callable[[], object]]] = {
    CLIP: _transformer,  # which is its own text tower
    VisionTransformer: _transformer,
    TextTransformer: _transformer,
    ModifiedResNet: _resnet,
    TimmModel: _timm,
    HFTextEncoder: _transformers,
}
