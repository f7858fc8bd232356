"""How an iteration runs both towers forwards and backwards: the full batch at once, or in chunks.

B images, N rows of images or texts, L tokens, C channels, H W pixels, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch

from gift_core.clip.model import Clip
from gift_core.torch_devices import RandomStates, random_states, repeated_random_state

Encode = Callable[[Clip, torch.Tensor], torch.Tensor]  # clip.encoding.encode_images, encode_tokens


class EncoderStrategy(Protocol):
    """Computes the features that a loss needs, and the gradients of that loss with respect to the weights."""

    def encode(self, encode: Encode, rows_NX: torch.Tensor) -> torch.Tensor:
        """Returns unit features [N, D] of normalized images [N, C, H, W] or of token rows [N, L]."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss of the features encoded since the last call to `.grad` of the weights."""


class GradientCache:
    """Keeps the activations of at most `size` rows at a time, with the gradients of the full batch.

    None: all rows are encoded at once, and all activations stay in memory until the backward pass.

    The rows are encoded chunk by chunk without a graph. The loss sees the features of all rows and gives their
    gradients. Each chunk is then encoded again with a graph and receives its part of these gradients (GradCache, Gao et
    al. 2021, section 3.2). This costs one more forward pass. Rows that fit in one chunk keep their graph. Layers that
    are random in training (dropout) see the same random numbers in both passes.
    """

    def __init__(self, clip: Clip, size: int | None) -> None:
        self._clip = clip
        self._size = size
        self._passes: list[Callable[[], None]] = []  # the second pass of each group of rows that were encoded

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of the features, then run a forward and a backward pass for each chunk."""
        loss.backward()  # type: ignore[no-untyped-call]
        passes, self._passes = self._passes, []
        for second_pass in passes:
            second_pass()

    def encode(self, encode: Encode, rows_NX: torch.Tensor) -> torch.Tensor:
        if self._size is None or len(rows_NX) <= self._size:
            return encode(self._clip, rows_NX)
        chunks_NX = torch.split(rows_NX, self._size)
        states, features = [], []
        with torch.no_grad():
            for chunk_NX in chunks_NX:
                states.append(random_states(self._clip.device))
                features.append(encode(self._clip, chunk_NX))
        features_ND = torch.cat(features).requires_grad_()
        self._passes.append(partial(self._backward_chunks, encode, chunks_NX, states, features_ND))
        return features_ND

    def _backward_chunks(
        self,
        encode: Encode,
        chunks_NX: Sequence[torch.Tensor],
        states: Sequence[RandomStates],
        features_ND: torch.Tensor,
    ) -> None:
        """Encodes each chunk again, from the random state before its first pass, and gives it its gradients."""
        if features_ND.grad is None:  # the loss did not use these features
            return
        gradients = torch.split(features_ND.grad, len(chunks_NX[0]))
        for chunk_NX, state, gradient_ND in zip(chunks_NX, states, gradients, strict=True):
            with repeated_random_state(self._clip.device, state):
                chunk_ND = encode(self._clip, chunk_NX)
            if not chunk_ND.requires_grad:  # nothing of this tower is trained
                return
            chunk_ND.backward(gradient_ND)  # type: ignore[no-untyped-call]
