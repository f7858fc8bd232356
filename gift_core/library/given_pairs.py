"""Replay of the caller's pairs: a sequence of (image, prompt), or a loader of (images, prompts).

M pairs of a batch, N pairs in all, P prompts, L tokens, C channels, H W pixels, S side of the model's images,
D features.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gift_core.clip.architectures import require_known_tokens
from gift_core.clip.batches import ShuffledIndices
from gift_core.clip.encoding import encode_images, encode_tokens, token_features, tokenize, trim_rows
from gift_core.clip.images import CacheBudget, decode, evaluation_transform
from gift_core.clip.model import Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.config.own_code import OF_ALL_PAIRS
from gift_core.config.replay_options import ReplayConfig
from gift_core.errors import UserError
from gift_core.library.given_model import (
    NAME,
    Tokenizer,
    checked_clip,
    described,
    endless,
    evaluation_mode,
    given_clip,
    refused,
    require_images,
    require_model,
    two_parts,
)
from gift_core.method.methods import WeightedLoss
from gift_core.method.pair_features import ReplayBatch, taken_by
from gift_core.method.replay.fisher import estimate_fisher as estimate
from gift_core.method.replay.source import Replay
from gift_core.progress import progress

PAIR = "(image, prompt)"
PAIRS = f"a sequence of {PAIR}"
REMEDY = 'Write [(image, "a photo of a zebra."), ...], with a Pillow image or the path of one.'
ALONE = "one pair has nothing to be compared with, so it would protect nothing"


def given_replay(
    clip: Clip,
    losses: Mapping[str, WeightedLoss],
    pairs: Any,
    *,
    teacher: torch.nn.Module | None,
    asked: ReplayConfig,
    training: TrainingConfig,
    seed: int,
) -> Replay | None:
    """Returns the replay of `pairs` for the losses of a method, None without any.

    Without `teacher` it is the model as it is now. UserError without pairs, where the method's row (`asked`) asks for
    another teacher, and for pairs that do not fit.
    """
    if not losses:
        return None
    if pairs is None:
        problem = f"missing, and the method replays them ({', '.join(losses)})"
        raise UserError(f"{NAME}: pairs: {problem}. Pass pairs, or method='finetune'.")
    wanted = getattr(asked, "teacher", "previous")
    if teacher is None and wanted != "previous":
        problem = f"the method distills from another model than the one it trains (replay.teacher: {wanted})"
        raise UserError(f"{NAME}: teacher: {problem}. Pass it, such as the model before its first task.")
    taught_by = clip if teacher is None else _teacher(clip, teacher)
    of_all = [name for name, loss in losses.items() if {*taken_by(loss.function)} & {*OF_ALL_PAIRS}]
    if _is_sequence(pairs):
        return PairSequence(clip, taught_by, pairs, training=training, seed=seed, uses_all=bool(of_all))
    if of_all:
        problem = f"a loader, and {of_all[0]} compares with all pairs, which must be known before"
        raise UserError(f"{NAME}: pairs: {problem}. Pass {PAIRS}, or use distill.")
    if teacher is None:  # training does not change a copy
        taught_by = replace(clip, model=copy.deepcopy(clip.model).eval())
    return PairLoader(clip, taught_by, pairs)


@torch.inference_mode(False)
@torch.enable_grad()
def estimate_fisher(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[Any, str]],
    *,
    estimator: str = "per_sample",
    batch_size: int = 64,
) -> dict[str, torch.Tensor]:
    """Returns the diagonal Fisher information of `model` on `pairs` for each trained parameter, float32 on the CPU.

    For consolidation static_fisher: estimate it before the training, and for EWC over several tasks add the results.
    All pairs are in memory at once. Source: Kirkpatrick et al. 2017, section 2.1 (see gift_core.method.replay.fisher).

    Args:
        model: of open_clip, float32. Its weights and its mode do not change.
        tokenizer: the model's own.
        pairs: a sequence or map-style data set of (image, prompt), as for `finetune`.
        estimator: per_sample, or batch, which is faster and noisier.
        batch_size: pairs that are contrasted with each other.
    """
    require_model(model, "model")
    if not _is_sequence(pairs):
        raise refused("pairs", pairs, f"{PAIRS}. {REMEDY}")
    with evaluation_mode(model), given_clip(model, tokenizer, precision="fp32", device=None) as clip:
        read = [_read_pair(clip, pairs, row) for row in range(len(pairs))]
        images_NCHW = torch.stack([image for image, _ in read])
        require_images(clip, images_NCHW, "pairs", is_first=True)
        tokens_NL = tokenize(clip, [prompt for _, prompt in read])
        preprocess = clip.config["preprocess_cfg"]
        mean_C11, std_C11 = (torch.tensor(preprocess[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
        levels_NCHW = (images_NCHW.cpu() * std_C11 + mean_C11) * 255  # the inverse of clip.images.normalize
        return estimate(clip, levels_NCHW, tokens_NL, estimator=estimator, batch_size=batch_size)


class PairSequence:
    """Replay of numbered pairs in seeded epochs. The teacher encodes each pair once, before the training.

    Without `uses_all` (a loss compares with all pairs), those that no batch has are left out.
    An image is a Pillow image or the path of one, which goes through the model's evaluation transform, or a tensor
    [3, S, S] that has been through it. It must be the same whenever it is read. Images are kept while CacheBudget
    lasts.
    """

    def __init__(
        self, clip: Clip, teacher: Clip, pairs: Sequence[Any], *, training: TrainingConfig, seed: int, uses_all: bool
    ) -> None:
        if len(pairs) < 2:
            raise UserError(f"{NAME}: pairs: {len(pairs)} given, and {ALONE}. Pass {PAIRS}.")
        self._clip, self._pairs = clip, pairs
        batch_size = training.replay_batch_size
        self._indices = ShuffledIndices(len(pairs), batch_size, ("pairs", seed))
        budget, self._kept = CacheBudget(), dict[int, torch.Tensor]()
        batches = [self._indices.sample(index) for index in range(training.iterations)]
        used = list(range(len(pairs))) if uses_all else np.unique(np.concatenate(batches)).tolist()
        self._row = {number: row for row, number in enumerate(used)}
        prompts, features = list[str](), list[torch.Tensor]()
        for start in progress(range(0, len(used), batch_size), -(-len(used) // batch_size), "teacher"):
            part = used[start : start + batch_size]
            read = [_read_pair(clip, pairs, number) for number in part]
            images_MCHW = torch.stack([image for image, _ in read])
            require_images(clip, images_MCHW, "pairs", is_first=start == 0)
            with torch.no_grad():
                features.append(encode_images(teacher, images_MCHW.to(clip.device)))
            prompts += [prompt for _, prompt in read]
            self._kept |= {n: image for n, image in zip(part, images_MCHW, strict=True) if budget.take(image.nbytes)}
        numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        self._prompt_ids_N = torch.tensor([numbers[prompt] for prompt in prompts], device=clip.device)
        self._tokens_PL = tokenize(clip, list(numbers))
        self._teacher_image_ND = torch.cat(features)
        self._teacher_text_PD = token_features(teacher, self._tokens_PL, batch_size=batch_size)

    def sample(self, iteration: int) -> ReplayBatch:
        """Returns the pairs of iteration `iteration`."""
        numbers = self._indices.sample(iteration).tolist()
        rows = torch.tensor([self._row[number] for number in numbers], device=self._clip.device)
        ids_M, kept = self._prompt_ids_N[rows], self._kept
        images = [kept[n] if n in kept else _read_pair(self._clip, self._pairs, n)[0] for n in numbers]
        return ReplayBatch(
            images_MCHW=torch.stack(images).to(self._clip.device),
            tokens_ML=self._tokens_PL[ids_M],
            prompt_ids_M=ids_M,
            teacher_image_MD=self._teacher_image_ND[rows],
            teacher_text_MD=self._teacher_text_PD[ids_M],
            vocabulary_text_PD=self._teacher_text_PD,
            all_image_ND=self._teacher_image_ND,
            image_ids_M=rows,
        )


class PairLoader:
    """Replay of a loader's batches (images, prompts). The teacher encodes each batch, so images may be augmented.

    Prompts are texts, or token rows int64 [M, L]. When the loader ends, it starts again. A batch of one
    pair is left out, because it has nothing to be compared with.
    """

    def __init__(self, clip: Clip, teacher: Clip, loader: Any) -> None:
        self._clip, self._teacher = clip, teacher
        self._batches = endless(loader, "pairs", f"{PAIRS} or a loader of (images, prompts). {REMEDY}")

    @torch.no_grad()
    def sample(self, iteration: int) -> ReplayBatch:
        """Returns the loader's next batch with the teacher's features."""
        while True:
            images_MCHW, prompts = two_parts(next(self._batches), "pairs", "(images, prompts)")
            if isinstance(prompts, torch.Tensor) and prompts.ndim == 4:
                raise UserError(f"{NAME}: pairs: it yields (texts, images). Write (images, texts).")
            require_images(self._clip, images_MCHW, "pairs", is_first=iteration == 0)
            if len(images_MCHW) > 1:
                break
            if iteration == 0:  # later it is what is left at the end of an epoch
                raise UserError(f"{NAME}: pairs: a batch of {ALONE}. Pass a loader with a larger batch_size.")
        rows_ML = self._token_rows(prompts, len(images_MCHW))
        _, ids_M = torch.unique(rows_ML, dim=0, return_inverse=True)  # equal token rows are one prompt
        tokens_ML = trim_rows(self._clip.model, rows_ML).to(self._clip.device)
        ids_M = ids_M.to(self._clip.device)
        images_MCHW = images_MCHW.to(self._clip.device, non_blocking=True)
        image_MD = encode_images(self._teacher, images_MCHW)
        text_MD = encode_tokens(self._teacher, tokens_ML)
        return ReplayBatch(images_MCHW, tokens_ML, ids_M, image_MD, text_MD)

    def _token_rows(self, prompts: Any, count: int) -> torch.Tensor:
        is_tokens = isinstance(prompts, torch.Tensor) and prompts.ndim == 2 and not prompts.is_floating_point()
        are_texts = isinstance(prompts, (list, tuple)) and all(isinstance(each, str) for each in prompts)
        if not (is_tokens or are_texts) or len(prompts) != count:
            problem = f"prompts are {described(prompts)}, expected {count} texts, or token rows [{count}, L]"
            raise UserError(f"{NAME}: pairs: {problem}. Yield a text for each image.")
        if are_texts:
            return self._clip.tokenizer(list(prompts))
        remedy = "Pass the token rows of the model's own tokenizer, or texts."
        require_known_tokens(self._clip.model, prompts, f"{NAME}: pairs: prompts", remedy)
        rows_ML: torch.Tensor = prompts.long()
        return rows_ML


def _read_pair(clip: Clip, pairs: Sequence[Any], number: int) -> tuple[torch.Tensor, str]:
    """Returns the normalized image [3, S, S] and the prompt of a pair. UserError for what is none."""
    pair, name = pairs[number], f"pairs[{number}]"
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise UserError(f"{NAME}: {name}: it is {described(pair)}, expected {PAIR}. {REMEDY}")
    image, prompt = pair
    if isinstance(image, str) and not _is_image(image) and _is_image(prompt):
        raise UserError(f"{NAME}: {name}: it is (text, image). Write (image, text).")
    if not isinstance(prompt, str) or not prompt:
        raise UserError(f"{NAME}: {name}: its prompt is {described(prompt)}, expected a text. Pass {PAIR}.")
    if isinstance(image, (str, os.PathLike)):
        image = _opened(os.fspath(image), name)
    if isinstance(image, Image.Image):
        image = evaluation_transform(clip)(image)
    require_images(clip, image[None] if isinstance(image, torch.Tensor) else image, name, is_first=False)
    return image, prompt


def _is_sequence(pairs: Any) -> bool:
    """Whether it is a list, or a map-style data set."""
    return hasattr(pairs, "__getitem__") and hasattr(pairs, "__len__") and not isinstance(pairs, (str, Mapping))


def _is_image(value: Any) -> bool:
    """Whether it is an image, or the path of a file."""
    if isinstance(value, str):
        return os.path.isfile(value)  # noqa: PTH113 (Path raises for a long text)
    return isinstance(value, (Image.Image, torch.Tensor, os.PathLike))


def _opened(path: str, name: str) -> Image.Image:
    try:
        return decode(Path(path).read_bytes())
    except OSError as error:  # missing, not to be read, or no image
        problem = f"{path[:80]!r}: {error.strerror or 'no image, or a damaged one'}"
        raise UserError(f"{NAME}: {name}: {problem}. {REMEDY}") from None


def _teacher(clip: Clip, teacher: torch.nn.Module) -> Clip:
    """UserError for the student itself, and for a model of other images."""
    if teacher is clip.model:
        problem = "it is the model itself, which training changes"
        raise UserError(f"{NAME}: teacher: {problem}. Leave it out, or copy.deepcopy it.")
    taught_by = checked_clip(teacher, clip.tokenizer, name="teacher", precision=clip.precision)
    ours, its = _preparation(clip), _preparation(taught_by)
    if ours != its:
        problem = f"its images are prepared in another way than the model's ({its} and {ours})"
        raise UserError(f"{NAME}: teacher: {problem}. Use a teacher with the same preprocess_cfg.")
    return taught_by


def _preparation(clip: Clip) -> dict[str, Any]:
    """What decides the pixels of the model's images."""
    settings = clip.config["preprocess_cfg"]
    return {"size": clip.image_size, "mean": [*settings["mean"]], "std": [*settings["std"]]}
