"""Replay of the new task's own images against class prompts or random tokens (LwF, LwF-VR): replay.images: task.

P texts, L tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from gift_core.artifacts.task import index_task, read_task
from gift_core.clip.encoding import causal_tower, class_prompts, end_positions, tokenize, trim_rows
from gift_core.clip.images import Read
from gift_core.clip.model import Clip
from gift_core.computation import UnitRunner
from gift_core.errors import UserError
from gift_core.method.replay.source import Teacher, hash_of
from gift_core.method.replay.unpaired import UnpairedReplay, UnpairedStepReplay
from gift_core.seeds import seed_for

if TYPE_CHECKING:
    from gift_core.config.replay_options import TaskReplayConfig  # noqa: F401

KEY = "replay.texts: random_tokens"


class TaskReplay(UnpairedStepReplay["TaskReplayConfig"]):
    """The new task's training images, and the texts of the option `texts`."""

    def hashes(self) -> dict[str, str]:
        """task.json has the hashes of the images."""
        return {"task": hash_of(self.source.tasks[-1] / "task.json", "ingest")}

    def encode_with(self, teacher: Teacher, folder: Path, run: UnitRunner) -> str:
        texts, tokens_PL = self._texts(teacher.clip)
        return self.write(teacher, folder, run, self._images(), texts, tokens_PL)

    def load(self, clip: Clip, taken: Collection[str]) -> UnpairedReplay:
        return self.batches(clip, self._images())

    def _images(self) -> list[Read]:
        return [image.read for image in index_task(self.source.tasks[-1], "train")]

    def _texts(self, clip: Clip) -> tuple[list[str], torch.Tensor]:
        options = self.options.texts
        if options.kind == "random_tokens":
            tokens_PL = random_token_rows(clip, options.count, options.length, self.sampling.names)
            return [f"random tokens {row}" for row in range(len(tokens_PL))], tokens_PL
        info = read_task(self.source.tasks[-1])
        texts = class_prompts(info.class_names, info.templates)
        return texts, tokenize(clip, texts)


def random_token_rows(clip: Clip, count: int, length: int, names: tuple[str | int, ...]) -> torch.Tensor:
    """Returns int64 [P, L] on the model's device: `count` different rows of a start, `length` random and an end token.

    The tokens are uniform over the vocabulary without start, end and padding. `names` name the seed. Rows are padded
    and trimmed as in encoding.tokenize. Source: VR-LwF (Ding et al. 2022); the baseline LwF-VR in ZSCL uses 1,000 rows
    of 10 tokens. UserError where a row does not fit in the context, where fewer different rows exist, and where the
    text tower does not read its feature at the end token.
    """
    tower = causal_tower(clip.model)
    empty_L = clip.tokenizer([""])[0]  # [start, end, padding ...]
    if length + 2 > len(empty_L):
        needed = f"{length} tokens with start and end need {length + 2} positions, but the context has {len(empty_L)}"
        raise UserError(f"{KEY}: {needed}. Set length to {len(empty_L) - 2} or less.")
    rows_PL = empty_L.repeat(count, 1)
    if tower is not None:
        ordinary = np.setdiff1d(np.arange(tower.token_embedding.num_embeddings), empty_L.numpy())
        if len(ordinary) ** length < count:
            kinds = f"only {len(ordinary) ** length} different rows of {length} tokens exist"
            raise UserError(f"{KEY}: count is {count}, but {kinds}. Lower count or raise length.")
        generator = np.random.default_rng(seed_for(*names, "random tokens"))
        rows = dict[tuple[int, ...], None]()  # the different ones, in their order
        while len(rows) < count:  # a row that was sampled before is sampled again
            sampled = ordinary[generator.integers(len(ordinary), size=(count - len(rows), length))]
            rows |= dict.fromkeys(map(tuple, sampled.tolist()))
        rows_PL[:, 1 : length + 1] = torch.tensor(list(rows))
        rows_PL[:, length + 1] = empty_L[1]
        rows_PL[:, length + 2 :] = empty_L[-1]
    ends_P = end_positions(clip.model, rows_PL)
    if ends_P is None or not bool((ends_P == length + 1).all()):
        problem = "it needs a text tower with causal attention that reads its feature at the end token, like CLIP's"
        raise UserError(f"{KEY}: {problem}. This model's is different. Set replay.texts.kind to classes.")
    return trim_rows(clip.model, rows_PL).to(clip.device)
