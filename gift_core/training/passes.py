"""A step's way through both towers and back: of whole batches, or in parts that keep the whole batch's gradients.

B images, N rows of images or texts, L tokens, C channels, H W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from gift_core.clip.encoding import encode_images, encode_tokens
from gift_core.clip.model import Clip

Encode = Callable[[torch.Tensor], torch.Tensor]
RandomState = tuple[torch.Tensor, torch.Tensor | None]  # of the CPU's generator, and of the device's where it has one


class Passes(Protocol):
    """Features of a loss, and the loss's gradients back to the weights."""

    def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Unit features [B, D] of normalised images."""
        ...

    def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        """Unit features [N, D] of token rows."""
        ...

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss of features encoded since the last call to `.grad` of the weights."""
        ...


def build_passes(clip: Clip, micro_batch_size: int | None) -> Passes:
    """Passes of whole batches, or of `micro_batch_size` rows at once."""
    return WholePasses(clip) if micro_batch_size is None else PartedPasses(clip, micro_batch_size)


class WholePasses:
    """Everything at once: one graph, whose activations all wait for the way back."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Unit features [B, D], with their graph."""
        return encode_images(self._clip, images_BCHW)

    def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        """Unit features [N, D], with their graph."""
        return encode_tokens(self._clip, tokens_NL)

    def backward(self, loss: torch.Tensor) -> None:
        """One backward pass."""
        loss.backward()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Cached:
    """Features without a graph, and what encodes each part of them again: its rows and the random state it met."""

    encode: Encode
    parts_NX: Sequence[torch.Tensor]
    states: Sequence[RandomState]
    features_ND: torch.Tensor


class PartedPasses:
    """At most `size` rows hold their activations at once; the loss still sees the features of all.

    The rows are encoded part by part without a graph, the loss gives the gradients of the features, and each part is
    encoded once more and takes its share of them back (GradCache, Gao et al. 2021, section 3.2). Costs one more forward
    pass. What fits into one part keeps its graph. Layers that are random in training draw the same in both passes.
    """

    def __init__(self, clip: Clip, size: int) -> None:
        self._clip, self._size = clip, size
        self._cached: list[_Cached] = []

    def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Unit features [B, D] that remember their gradient."""
        return self._encode(partial(encode_images, self._clip), images_BCHW)

    def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        """Unit features [N, D] that remember their gradient."""
        return self._encode(partial(encode_tokens, self._clip), tokens_NL)

    def backward(self, loss: torch.Tensor) -> None:
        """The gradients of the features, then a forward and a backward pass for each part."""
        loss.backward()  # type: ignore[no-untyped-call]
        cached, self._cached = self._cached, []
        for each in cached:
            if each.features_ND.grad is not None:
                self._return_gradients(each, each.features_ND.grad)

    def _encode(self, encode: Encode, rows_NX: torch.Tensor) -> torch.Tensor:
        parts_NX = torch.split(rows_NX, self._size)
        if len(parts_NX) == 1:
            return encode(rows_NX)
        states, features = [], []
        with torch.no_grad():
            for part_NX in parts_NX:
                states.append(random_state(self._clip.device))
                features.append(encode(part_NX))
        features_ND = torch.cat(features).requires_grad_()
        self._cached.append(_Cached(encode, parts_NX, states, features_ND))
        return features_ND

    def _return_gradients(self, cached: _Cached, gradient_ND: torch.Tensor) -> None:
        gradients = torch.split(gradient_ND, self._size)
        for part_NX, state, part_gradient_ND in zip(cached.parts_NX, cached.states, gradients, strict=True):
            with repeated_random_state(self._clip.device, state):
                features_ND = cached.encode(part_NX)
            features_ND.backward(part_gradient_ND)  # type: ignore[no-untyped-call]


def random_state(device: torch.device) -> RandomState:
    """The state of torch's own generators that a module on `device` draws from."""
    own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
    return torch.get_rng_state(), own


@contextmanager
def repeated_random_state(device: torch.device, state: RandomState) -> Iterator[None]:
    """Within the block the generators go on from `state`, after it from where they stood before."""
    before = random_state(device)
    _set_random_state(device, state)
    try:
        yield
    finally:
        _set_random_state(device, before)


def _set_random_state(device: torch.device, state: RandomState) -> None:
    on_cpu, on_device = state
    torch.set_rng_state(on_cpu)
    if on_device is not None:
        torch.get_device_module(device).set_rng_state(on_device, device)
