"""Pre-training pictures drawn on tensors: cheap enough to be new in every batch.

B pictures, M masks, H = W = 32 pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gift_core.mini.colours import COLOURS
from gift_core.mini.glyphs import all_glyphs, faces_for
from gift_core.mini.pretrain.captions import PAIRS, subjects
from gift_core.mini.render import MASK_SIZE, SIZE, glyph_mask
from gift_core.mini.textures import PATTERNS, texture_mask

TEXTURE_MASKS = 48
"""Drawings kept of each pattern; a glyph has one mask a face."""


@dataclass(frozen=True)
class Batch:
    """Pictures [B, 3, 32, 32] in 0-1, with the indices of what they show (captions.py)."""

    images: Tensor
    subjects: Tensor
    inks: Tensor
    pairs: Tensor


class Pool:
    """The masks of every subject in the upright faces, and the colours: all that a picture is mixed from."""

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
        self.colour_K3 = torch.tensor(list(COLOURS.values()), dtype=torch.float32) / 255
        names = list(COLOURS)
        self.pair_P2 = torch.tensor([[names.index(ink), names.index(ground)] for ink, ground in PAIRS])

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """New pictures for CLIP: subject, face, place and colours, on varied grounds, a little damaged."""
        subject_B, pair_B, ink_B, ground_B = self._names(size, generator)
        mask_B1HW = place(self.masks(subject_B, generator), generator)
        ink_BC11 = self._shade(ink_B, 16 / 255, generator)
        ground_BCHW = self._clutter(self._texture(self._ground(ground_B, generator), generator), generator)
        image_BCHW = damage(mask_B1HW * ink_BC11 + (1 - mask_B1HW) * ground_BCHW, generator)
        return Batch(image_BCHW, subject_B, ink_B, pair_B)

    def draw_clean(self, size: int, generator: torch.Generator) -> Batch:
        """New pictures for the diffusion model: as the captions say and nothing else."""
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
        """One mask a subject in a random face: float [B, 1, 64, 64] in 0-1."""
        face_B = torch.floor(_uniform(subject_B.shape, 0, 1, generator) * self.count_S[subject_B]).long()
        chosen: Tensor = self.mask_M1HW[self.first_S[subject_B] + face_B].float() / 255
        return chosen

    def _shade(self, colour_B: Tensor, spread: float, generator: torch.Generator) -> Tensor:
        shape = (len(colour_B), 3)
        return (self.colour_K3[colour_B] + _uniform(shape, -spread, spread, generator))[:, :, None, None]

    def _ground(self, colour_B: Tensor, generator: torch.Generator) -> Tensor:
        """Two of three plain, one of three a soft gradient."""
        size = len(colour_B)
        start, end = self._shade(colour_B, 16 / 255, generator), self._shade(colour_B, 44 / 255, generator)
        end = torch.where(_chance(size, 0.33, generator), end, start)
        angle = _uniform((size, 1, 1, 1), 0, 2 * np.pi, generator)
        ramp = torch.linspace(-0.5, 0.5, SIZE)
        share = ((ramp[:, None] * angle.sin() + ramp * angle.cos()) / np.sqrt(2) + 0.5).clamp(0, 1)
        mixed: Tensor = start + share * (end - start)
        return mixed

    def _texture(self, ground_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """One ground in eight has a faint pattern."""
        size = len(ground_BCHW)
        subject_B = torch.randint(len(self.count_S) - len(PATTERNS), len(self.count_S), (size,), generator=generator)
        texture = place(self.masks(subject_B, generator), generator) - 0.5
        strength = _chance(size, 0.12, generator) * _uniform((size, 1, 1, 1), -0.3, 0.3, generator)
        return ground_BCHW + texture * strength

    def _clutter(self, ground_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """One picture in eight has a small strange glyph near its edge."""
        size = len(ground_BCHW)
        subject_B = torch.randint(len(self.count_S), (size,), generator=generator)
        small = place(self.masks(subject_B, generator), generator, zoom=(0.25, 0.4), shift=0.75)
        small = small * _chance(size, 0.12, generator)
        colour = self._shade(torch.randint(len(self.colour_K3), (size,), generator=generator), 0.1, generator)
        return small * colour + (1 - small) * ground_BCHW


def place(
    mask_B1HW: Tensor, generator: torch.Generator, *, zoom: tuple[float, float] = (0.8, 1.2), shift: float = 0.16
) -> Tensor:
    """Masks [B, 1, 64, 64] turned by up to 12 degrees, zoomed, shifted (1 is half a side): [B, 1, 32, 32]."""
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


def damage(image_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """A little noise on all pictures, more on a third, a blur on a fifth: clipped to 0-1."""
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
