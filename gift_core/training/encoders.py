"""How an iteration runs both towers forwards and backwards: the full batch at once, or in chunks.

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
RandomState = tuple[torch.Tensor, torch.Tensor | None]  # of the generator of the CPU, and of the device if it has one


class EncoderStrategy(Protocol):
    """Computes the features that a loss needs, and the gradients of that loss with respect to the weights."""

    def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Returns unit features [B, D] of normalized images."""
        ...

    def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        """Returns unit features [N, D] of token rows."""
        ...

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss of the features encoded since the last call to `.grad` of the weights."""
        ...


def encoder_strategy(clip: Clip, micro_batch_size: int | None) -> EncoderStrategy:
    """Returns FullBatch where `micro_batch_size` is None, else GradientCache."""
    return FullBatch(clip) if micro_batch_size is None else GradientCache(clip, micro_batch_size)


class FullBatch:
    """Encodes all rows in one graph. All activations stay in memory until the backward pass."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Returns unit features [B, D] with their graph."""
        return encode_images(self._clip, images_BCHW)

    def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        """Returns unit features [N, D] with their graph."""
        return encode_tokens(self._clip, tokens_NL)

    def backward(self, loss: torch.Tensor) -> None:
        """Run one backward pass."""
        loss.backward()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _CachedChunks:
    """Features without a graph, and what encodes each chunk again: its rows and the random state before it."""

    encode: Encode
    chunks_NX: Sequence[torch.Tensor]
    states: Sequence[RandomState]
    features_ND: torch.Tensor


class GradientCache:
    """Keeps the activations of at most `size` rows at a time, with the gradients of the full batch.

    The rows are encoded chunk by chunk without a graph. The loss sees the features of all rows and gives their
    gradients. Each chunk is then encoded again with a graph and receives its part of these gradients (GradCache, Gao et
    al. 2021, section 3.2). This costs one more forward pass. Rows that fit in one chunk keep their graph. Layers that
    are random in training (dropout) see the same random numbers in both passes.
    """

    def __init__(self, clip: Clip, size: int) -> None:
        self._clip, self._size = clip, size
        self._cached: list[_CachedChunks] = []

    def encode_images(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Returns unit features [B, D] that collect their gradient."""
        return self._encode(partial(encode_images, self._clip), images_BCHW)

    def encode_tokens(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        """Returns unit features [N, D] that collect their gradient."""
        return self._encode(partial(encode_tokens, self._clip), tokens_NL)

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of the features, then run a forward and a backward pass for each chunk."""
        loss.backward()  # type: ignore[no-untyped-call]
        cached, self._cached = self._cached, []
        for each in cached:
            if each.features_ND.grad is not None:
                self._backward_chunks(each, each.features_ND.grad)

    def _encode(self, encode: Encode, rows_NX: torch.Tensor) -> torch.Tensor:
        chunks_NX = torch.split(rows_NX, self._size)
        if len(chunks_NX) == 1:
            return encode(rows_NX)
        states, features = [], []
        with torch.no_grad():
            for chunk_NX in chunks_NX:
                states.append(random_state(self._clip.device))
                features.append(encode(chunk_NX))
        features_ND = torch.cat(features).requires_grad_()
        self._cached.append(_CachedChunks(encode, chunks_NX, states, features_ND))
        return features_ND

    def _backward_chunks(self, cached: _CachedChunks, gradient_ND: torch.Tensor) -> None:
        gradients = torch.split(gradient_ND, self._size)
        for chunk_NX, state, chunk_gradient_ND in zip(cached.chunks_NX, cached.states, gradients, strict=True):
            with repeated_random_state(self._clip.device, state):
                features_ND = cached.encode(chunk_NX)
            features_ND.backward(chunk_gradient_ND)  # type: ignore[no-untyped-call]


def random_state(device: torch.device) -> RandomState:
    """Returns the state of torch's generators that a module on `device` uses."""
    own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
    return torch.get_rng_state(), own


@contextmanager
def repeated_random_state(device: torch.device, state: RandomState) -> Iterator[None]:
    """Within the block the generators continue from `state`. Afterwards they are restored."""
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
