"""The diagonal Fisher information of a model on pairs: how much the likelihood of the pairs depends on each weight.

M pairs, B pairs of a batch, N rows, L tokens, C channels, H W pixels, D features. g_i is the gradient of the loss of
pair i, which is its negative log-likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from gift_core.artifacts.teacher_files import Floats
from gift_core.clip.encoding import encode_tokens, tokenize
from gift_core.clip.images import Read, evaluation_pixels, normalize
from gift_core.clip.model import Clip
from gift_core.computation import Advance, Computation, State, UnitRunner, run_serially
from gift_core.errors import UserError, lookup
from gift_core.method.losses import shared_prompt_targets
from gift_core.method.replay.source import loaded

# Memory for the gradients of single pairs: 128 MiB, or one pair's gradients where these are larger. With more memory
# a CPU gets slower, because the gradients no longer fit in its caches.
GRADIENT_BYTES = 2**27

# A sum over many pairs is made of ranges, which are added in their order: no bit depends on who computes a range.
BATCHES = 16  # of a range: 1,024 pairs in batches of 64, which is all that a step of the paper's setting has

Tensors = dict[str, torch.Tensor]  # by parameter name
Rows = tuple[torch.Tensor, ...]  # one row per pair: images, tokens, a mask of the pair itself, its targets
PairLoss = Callable[..., torch.Tensor]  # takes the weights and one row of each of Rows
Estimator = Callable[[PairLoss, Tensors, Rows], Iterator[Tensors]]  # yields gradients [N, ...] to square and sum


def estimate_fisher(
    clip: Clip, images_MCHW: torch.Tensor, tokens_ML: torch.Tensor, *, estimator: str, batch_size: int
) -> Tensors:
    """Returns the diagonal of the empirical Fisher information for each of `clip.trainable()`: float32 >= 0 on the CPU.

    `images_MCHW` are uint8 pixels (clip.images.evaluation_pixels), `tokens_ML` the rows of their prompts
    (clip.encoding.tokenize), `estimator` is a name of ESTIMATORS. The pairs are contrasted within consecutive batches
    of `batch_size`, and all of them are used. The model runs in evaluation mode and in float32 whatever its precision,
    because squared gradients in bfloat16 have two digits. Afterwards it is in evaluation mode. UserError for an unknown
    estimator, for batches of fewer than two pairs, and for a result that is not finite.

    Source: Kirkpatrick et al. 2017, section 2.1. Empirical means that the pairs are the given ones and are not sampled
    from the model.
    """
    squares = Squares(lambda _, pairs: images_MCHW[pairs.start : pairs.stop], tokens_ML.cpu(), estimator, batch_size)
    return squares.estimate(clip, run_serially, None)


def fisher_of_pairs(
    clip: Clip,
    prompts: Sequence[str],
    images: Sequence[Read],
    *,
    estimator: str,
    batch_size: int,
    run: UnitRunner = run_serially,
    load_clip: Callable[[], Clip] | None = None,
) -> dict[str, Floats]:
    """Returns the same of pairs by their prompts and encoded images, as arrays. A range of images is in memory.

    With `load_clip`, which loads the same model, other processes can compute some of the ranges.
    """
    # all prompts at once: the longest one decides the length of the rows, which may change the last bits
    tokens_ML = tokenize(clip, prompts).cpu()
    squares = Squares(partial(_read_pixels, images), tokens_ML, estimator, batch_size)
    return {name: diagonal.numpy() for name, diagonal in squares.estimate(clip, run, load_clip).items()}


def _read_pixels(images: Sequence[Read], clip: Clip, pairs: range) -> torch.Tensor:
    return evaluation_pixels(clip, (read() for read in images[pairs.start : pairs.stop]))


@dataclass(frozen=True)
class Squares:
    """The squared gradients of pairs, summed over ranges of whole batches.

    `pixels_of` reads the uint8 pixels [M, C, H, W] of a range. `tokens_ML` are the token rows of all pairs, on the CPU.
    """

    pixels_of: Callable[[Clip, range], torch.Tensor]
    tokens_ML: torch.Tensor
    estimator: str
    batch_size: int

    def estimate(self, clip: Clip, run: UnitRunner, load_clip: Callable[[], Clip] | None) -> Tensors:
        """Returns the diagonals, from the sums of all ranges. UserError as in estimate_fisher."""
        lookup(ESTIMATORS, self.estimator, "replay.fisher.estimator")
        count = len(self.tokens_ML)
        if min(count, self.batch_size) < 2:
            raise UserError(
                f"replay.fisher: the contrastive loss needs two pairs or more in a batch, but there are {count} pairs "
                f"in batches of {self.batch_size}. Use two pairs or more (prompts.images_per_task, or the reference "
                "folder), and set training.replay_batch_size to 2 or more."
            )
        ranges = [range(part.start, part.stop) for part in batch_slices(count, BATCHES * self.batch_size)]
        compute = partial(self.of_range, clip)
        load = partial(loaded, load_clip, self.of_range) if load_clip else None
        fisher = Computation("fisher", ranges, compute, load=load, noun="pairs")
        sums = reduce(_add, run(fisher)).tensors
        diagonals = Tensors()
        for name in clip.trainable():
            # on the device: a GPU divides with other last bits than a CPU
            diagonal = sums.pop(name).to(clip.device).div_(count)
            if not diagonal.isfinite().all():
                raise UserError(
                    f"replay.fisher: the Fisher information of {name} is not finite, because the teacher's weights or "
                    "gradients are not. Train the task before this one with a lower learning rate."
                )
            diagonals[name] = diagonal.cpu()
        return diagonals

    def of_range(self, clip: Clip, pairs: range, advance: Advance) -> State:
        """Returns the sum over a range, float32 on the CPU."""
        weights = {name: value.detach() for name, value in clip.trainable().items()}
        # float32 is precise enough for the sums: importances need few digits, and float64 would take twice the memory
        sums = {name: torch.zeros_like(value) for name, value in weights.items()}
        pixels_MCHW = self.pixels_of(clip, pairs)
        tokens_ML = self.tokens_ML[pairs.start : pairs.stop]
        # the fused attention on CPUs has no vmap rule, so vmap would run it pair by pair
        clip.model.eval()
        with sdpa_kernel(SDPBackend.MATH):
            for batch in batch_slices(len(pairs), self.batch_size):
                images_BCHW = normalize(clip, pixels_MCHW[batch])
                tokens_BL = tokens_ML[batch].to(clip.device)
                pair_loss, rows = _contrast(clip, images_BCHW, tokens_BL)
                for gradients in ESTIMATORS[self.estimator](pair_loss, weights, rows):
                    while gradients:  # each is freed at once, since the next ones need the memory
                        name, gradient_N = gradients.popitem()
                        # not in place: two parameters' gradients may share memory
                        sums[name] += gradient_N.square().sum(dim=0)
                advance(batch.stop - batch.start)
        return State({name: value.cpu() for name, value in sums.items()})


def _add(total: State, following: State) -> State:
    """Adds in place, since a sum is as large as the model."""
    for name, value in total.tensors.items():
        value.add_(following.tensors[name])
    return total


def per_sample(pair_loss: PairLoss, weights: Tensors, rows: Rows) -> Iterator[Tensors]:
    """Yields the gradient g_i of every row. The sum of g_i^2 is the exact estimate."""
    chunk_size = pairs_at_once(weights)
    gradient_of_each = vmap(grad(pair_loss), in_dims=(None, *[0] * len(rows)))
    # vmap's own chunk_size would keep the gradients of all chunks until the end
    for part in zip(*(torch.split(column, chunk_size) for column in rows), strict=True):
        yield gradient_of_each(weights, *part)


def batch_gradient(pair_loss: PairLoss, weights: Tensors, rows: Rows) -> Iterator[Tensors]:
    """Yields one row, the sum of all g_i: a single backward pass, with one gradient as large as the model.

    Where the n gradients g_i are independent with mean zero, E[g_i g_j] = 0 for i != j, so E (sum g_i)^2 equals
    sum E g_i^2, the expectation of `per_sample`. The relative variance does not shrink with n, only with the number of
    batches. At an optimum of the likelihood the mean is zero. Elsewhere a mean mu adds (n - 1) mu^2 to the estimate.
    """
    loss_of_each = vmap(pair_loss, in_dims=(None, *[0] * len(rows)))
    gradients: Tensors = grad(lambda values: loss_of_each(values, *rows).sum())(weights)
    yield {name: gradient[None] for name, gradient in gradients.items()}


# By the value of replay.fisher.estimator in params.yaml.
ESTIMATORS: Mapping[str, Estimator] = {"per_sample": per_sample, "batch": batch_gradient}


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """Returns consecutive batches of `batch_size`. The last may be shorter, but a single pair joins the one before."""
    starts = range(0, max(1, count - 1), batch_size)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def pairs_at_once(weights: Mapping[str, torch.Tensor]) -> int:
    """Returns the number of gradients, each as large as the weights, that fit in GRADIENT_BYTES: at least 1."""
    return max(1, GRADIENT_BYTES // sum(value.nbytes for value in weights.values()))


def _contrast(clip: Clip, images_BCHW: torch.Tensor, tokens_BL: torch.Tensor) -> tuple[PairLoss, Rows]:
    """The negative log-likelihood of one pair in its batch, in nats: text given image, plus image given text; the rows.

    `own_B` is true at the pair itself. `targets_B` spreads the mass 1 over the pairs with the same prompt. The unit
    features of the batch, `image_BD` and `text_BD`, are constants, and so is the scale s that multiplies cosines.
    """
    towers, scale = _Towers(clip), clip.scale
    with torch.no_grad():
        image_BD, text_BD = towers(images_BCHW, tokens_BL)

    def pair_loss(
        weights: Tensors, image_CHW: torch.Tensor, tokens_L: torch.Tensor, own_B: torch.Tensor, targets_B: torch.Tensor
    ) -> torch.Tensor:
        named = {f"model.{name}": value for name, value in weights.items()}
        image_1D, text_1D = functional_call(towers, named, (image_CHW[None], tokens_L[None]))
        image_D, text_D = image_1D[0], text_1D[0]
        cosine = image_D @ text_D
        by_image_B = scale * torch.where(own_B, cosine, text_BD @ image_D)
        by_text_B = scale * torch.where(own_B, cosine, image_BD @ text_D)
        return functional.cross_entropy(by_image_B, targets_B) + functional.cross_entropy(by_text_B, targets_B)

    own_BB = torch.eye(len(tokens_BL), dtype=torch.bool, device=clip.device)
    _, prompt_ids_B = torch.unique(tokens_BL, dim=0, return_inverse=True)
    return pair_loss, (images_BCHW, tokens_BL, own_BB, shared_prompt_targets(prompt_ids_B))


class _Towers(torch.nn.Module):
    """Both towers in float32 as one module, because functional_call takes one module with one forward method."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.model = clip.model
        self._clip = replace(clip, precision="fp32")

    def forward(self, images_NCHW: torch.Tensor, tokens_NL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns unit features [N, D] of images and of texts."""
        # encode_images uses channels_last, which vmap does not support
        image_ND = self.model.encode_image(images_NCHW)  # type: ignore[operator]
        return functional.normalize(image_ND, dim=-1), encode_tokens(self._clip, tokens_NL)
