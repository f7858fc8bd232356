"""Pictures and captions for pre-training. Pictures are computed on tensors, fast enough for new ones in every batch.

B pictures, M masks, S subjects, K colors, P pairs of colors, H = W = 32 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gift_core.mini.rendering import COLORS, MASK_SIZE, SIZE, all_glyphs, faces_for, glyph_mask, legible_pairs
from gift_core.mini.textures import PATTERNS, texture_mask
from gift_core.mini.world import SYMBOL_TEMPLATES, TEMPLATES

INKS = tuple(COLORS)
PAIRS = legible_pairs()


@cache
def subjects() -> tuple[str, ...]:
    """Returns the names of everything that pre-training pictures show: glyphs, then textures."""
    return tuple(glyph.name for glyph in all_glyphs()) + tuple(f"{pattern} texture" for pattern in PATTERNS)


def class_captions(template: int) -> list[str]:
    """Returns one caption per subject in the given template (0-2), such as "a photo of a snowman."."""
    return [SYMBOL_TEMPLATES[template].format(subject) for subject in subjects()]


def color_captions(template: int) -> list[str]:
    """Returns one caption per color in the given template (0-2), such as "a photo of a red symbol."."""
    return [TEMPLATES["colours"][template].format(ink) for ink in INKS]


def ink_caption(subject: int, ink: int) -> str:
    """Returns a caption such as "a photo of a red snowman."."""
    return SYMBOL_TEMPLATES[0].format(f"{INKS[ink]} {subjects()[subject]}")


def scene_caption(subject: int, pair: int) -> str:
    """Returns a caption such as "a photo of a red snowman on a blue background."."""
    ink, ground = PAIRS[pair]
    return SYMBOL_TEMPLATES[0].format(f"{ink} {subjects()[subject]} on a {ground} background")


def corpus() -> list[str]:
    """Returns the tokenizer's training data: all class and color captions, and every pair of colors once."""
    names = [caption for template in range(3) for caption in class_captions(template) + color_captions(template)]
    return names + [scene_caption(index % len(subjects()), index) for index in range(len(PAIRS))]


TEXTURE_MASKS = 48
"""Masks kept of each pattern. A glyph has one mask per face."""


@dataclass(frozen=True)
class Batch:
    """Pictures [B, 3, 32, 32] in 0-1, and the indices of their subjects, colors (inks) and pairs of colors."""

    images: Tensor
    subjects: Tensor
    inks: Tensor
    pairs: Tensor


class PretrainingImages:
    """Samples random pictures from the masks of all subjects and the colors."""

    def __init__(self) -> None:
        masks: list[list[np.ndarray]] = [
            [np.asarray(glyph_mask(glyph.character, face)) for face in faces_for(glyph.character)]
            for glyph in all_glyphs()
        ]
        random = np.random.default_rng(0)
        for pattern in PATTERNS:
            masks.append([np.asarray(texture_mask(pattern, random)) for _ in range(TEXTURE_MASKS)])
        assert len(masks) == len(subjects())
        self.mask_M1HW = torch.from_numpy(np.stack([mask for group in masks for mask in group]))[:, None]
        self.count_S = torch.tensor([len(group) for group in masks])
        self.first_S = self.count_S.cumsum(0) - self.count_S
        self.color_K3 = torch.tensor(list(COLORS.values()), dtype=torch.float32) / 255
        names = list(COLORS)
        self.pair_P2 = torch.tensor([[names.index(ink), names.index(ground)] for ink, ground in PAIRS])

    def sample(self, size: int, generator: torch.Generator) -> Batch:
        """Returns new pictures for CLIP: random subjects, faces, positions, colors and backgrounds, with noise."""
        subject_B, pair_B, ink_B, ground_B = self._names(size, generator)
        mask_B1HW = place(self.masks(subject_B, generator), generator)
        ink_BC11 = self._shade(ink_B, 16 / 255, generator)
        ground_BCHW = self._clutter(self._texture(self._ground(ground_B, generator), generator), generator)
        image_BCHW = distort(mask_B1HW * ink_BC11 + (1 - mask_B1HW) * ground_BCHW, generator)
        return Batch(image_BCHW, subject_B, ink_B, pair_B)

    def sample_clean(self, size: int, generator: torch.Generator) -> Batch:
        """Returns new pictures for the diffusion model, which show only what the captions say."""
        subject_B, pair_B, ink_B, ground_B = self._names(size, generator)
        mask_B1HW = place(self.masks(subject_B, generator), generator)
        ink_BC11, ground_BCHW = self._shade(ink_B, 12 / 255, generator), self._ground(ground_B, generator)
        return Batch((mask_B1HW * ink_BC11 + (1 - mask_B1HW) * ground_BCHW).clamp(0, 1), subject_B, ink_B, pair_B)

    def _names(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        subject_B = torch.randint(len(self.count_S), (size,), generator=generator)
        pair_B = torch.randint(len(self.pair_P2), (size,), generator=generator)
        ink_B, ground_B = self.pair_P2[pair_B].unbind(1)
        return subject_B, pair_B, ink_B, ground_B

    def masks(self, subject_B: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the mask of each subject in a random face: float [B, 1, 64, 64] in 0-1."""
        face_B = torch.floor(_uniform(subject_B.shape, 0, 1, generator) * self.count_S[subject_B]).long()
        chosen: Tensor = self.mask_M1HW[self.first_S[subject_B] + face_B].float() / 255
        return chosen

    def _shade(self, color_B: Tensor, spread: float, generator: torch.Generator) -> Tensor:
        shape = (len(color_B), 3)
        return (self.color_K3[color_B] + _uniform(shape, -spread, spread, generator))[:, :, None, None]

    def _ground(self, color_B: Tensor, generator: torch.Generator) -> Tensor:
        """Returns backgrounds: two of three plain, one of three with a gradient."""
        size = len(color_B)
        start, end = self._shade(color_B, 16 / 255, generator), self._shade(color_B, 44 / 255, generator)
        end = torch.where(_chance(size, 0.33, generator), end, start)
        angle = _uniform((size, 1, 1, 1), 0, 2 * np.pi, generator)
        ramp = torch.linspace(-0.5, 0.5, SIZE)
        share = ((ramp[:, None] * angle.sin() + ramp * angle.cos()) / np.sqrt(2) + 0.5).clamp(0, 1)
        mixed: Tensor = start + share * (end - start)
        return mixed

    def _texture(self, ground_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Adds a faint pattern to one background in eight."""
        size = len(ground_BCHW)
        subject_B = torch.randint(len(self.count_S) - len(PATTERNS), len(self.count_S), (size,), generator=generator)
        texture = place(self.masks(subject_B, generator), generator) - 0.5
        strength = _chance(size, 0.12, generator) * _uniform((size, 1, 1, 1), -0.3, 0.3, generator)
        return ground_BCHW + texture * strength

    def _clutter(self, ground_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Adds a small unrelated glyph near the edge of one picture in eight."""
        size = len(ground_BCHW)
        subject_B = torch.randint(len(self.count_S), (size,), generator=generator)
        small = place(self.masks(subject_B, generator), generator, zoom=(0.25, 0.4), shift=0.75)
        small = small * _chance(size, 0.12, generator)
        color = self._shade(torch.randint(len(self.color_K3), (size,), generator=generator), 0.1, generator)
        return small * color + (1 - small) * ground_BCHW


def place(
    mask_B1HW: Tensor, generator: torch.Generator, *, zoom: tuple[float, float] = (0.8, 1.2), shift: float = 0.16
) -> Tensor:
    """Returns the masks rotated by up to 12 degrees, zoomed and shifted (1 is half a side): [B, 1, 32, 32]."""
    size = len(mask_B1HW)
    angle = _uniform((size,), -np.pi / 15, np.pi / 15, generator)
    scale = 1 / _uniform((size,), *zoom, generator)
    move = _uniform((size, 2), -shift, shift, generator) * scale[:, None]
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([torch.stack([cos, sin, move[:, 0]], 1), torch.stack([-sin, cos, move[:, 1]], 1)], 1)
    grid = functional.affine_grid(matrix, [size, 1, MASK_SIZE, MASK_SIZE], align_corners=False)
    return functional.avg_pool2d(
        functional.grid_sample(mask_B1HW, grid, padding_mode="reflection", align_corners=False), 2
    )


def distort(image_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Returns the pictures with weak noise, a third with stronger noise, a fifth blurred, clipped to 0-1."""
    size = len(image_BCHW)
    weak, strong = _uniform((size, 1, 1, 1), 0, 4 / 255, generator), _uniform((size, 1, 1, 1), 0, 28 / 255, generator)
    blur = functional.avg_pool2d(functional.pad(image_BCHW, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = _chance(size, 0.2, generator) * _uniform((size, 1, 1, 1), 0.3, 1, generator)
    image_BCHW = image_BCHW + share * (blur - image_BCHW)
    sigma = torch.where(_chance(size, 0.33, generator), strong, weak)
    noise = torch.randn(image_BCHW.shape, generator=generator)
    return (image_BCHW + sigma * noise).clamp(0, 1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _chance(size: int, probability: float, generator: torch.Generator) -> Tensor:
    return torch.rand((size, 1, 1, 1), generator=generator) < probability
