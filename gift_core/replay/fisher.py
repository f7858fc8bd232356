"""The diagonal Fisher information of a model on pairs: how much the likelihood of each pair leans on each weight.

M pairs, B pairs of a batch, N rows, L tokens, C channels, H W pixels, D features. g_i is the gradient of the loss of
pair i, which is minus its log-likelihood.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from gift_core.clip.encoding import encode_tokens
from gift_core.clip.images import normalize
from gift_core.clip.model import Clip
from gift_core.errors import UserError, lookup
from gift_core.progress import progress_bar

# What the gradients of single pairs take at once: 128 MiB, or one pair's where that is more. Beyond it a CPU gets
# slower, as gradients leave its caches (benchmarks/fisher.md).
GRADIENT_BYTES = 2**27

Tensors = dict[str, torch.Tensor]  # by the parameters' names
Rows = tuple[torch.Tensor, ...]  # a row a pair: images, tokens, which of the batch it is, which of the batch it matches
PairLoss = Callable[..., torch.Tensor]  # of the weights and one row of each of Rows
Estimator = Callable[[PairLoss, Tensors, Rows], Iterator[Tensors]]  # gradients [N, ...] whose squares are summed


def estimate_fisher(
    clip: Clip, images_MCHW: torch.Tensor, tokens_ML: torch.Tensor, *, estimator: str, batch_size: int
) -> Tensors:
    """The diagonal of the empirical Fisher information, >= 0, float32 on the CPU, for each of `clip.trainable()`.

    `images_MCHW` are uint8 pixels (clip.images.evaluation_pixels), `tokens_ML` the rows of their prompts
    (clip.encoding.tokenize), `estimator` a name of ESTIMATORS. Pairs contrast within batches of `batch_size` as they
    come; all are used. The model runs in evaluation mode and in float32, whatever its precision: squares of gradients
    of bfloat16 would keep two digits. The model itself is left as it was. UserError for an unknown estimator, for
    fewer than two pairs, where nothing can be told apart, and for a result that is not finite.
    Kirkpatrick et al. 2017, section 2.1; empirical: of the pairs as they are, not of pairs drawn from the model.
    """
    gradients_of = lookup(ESTIMATORS, estimator, "replay.fisher.estimator")
    count = len(images_MCHW)
    if min(count, batch_size) < 2:
        raise UserError(
            f"replay.fisher: {count} pairs in batches of {batch_size} leave no pair another to be told from. "
            "Draw two images or more, in batches of two or more."
        )
    weights = {name: value.detach() for name, value in clip.trainable().items()}
    # float32 is enough for the sums too: importances need few digits, and a float64 copy costs twice the model
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    # the fused attention of CPUs has no rule for vmap, which would then go pair by pair through it
    with _evaluation_mode(clip.model), sdpa_kernel(SDPBackend.MATH), progress_bar(count, "pairs") as bar:
        for part in batch_slices(count, batch_size):
            pair_loss, rows = _contrast(clip, normalize(clip, images_MCHW[part]), tokens_ML[part].to(clip.device))
            for gradients in gradients_of(pair_loss, weights, rows):
                _add_squares(total, gradients)
            bar.update(part.stop - part.start)
    return {name: _finite(name, value.div_(count)).cpu() for name, value in total.items()}


def per_sample(pair_loss: PairLoss, weights: Tensors, rows: Rows) -> Iterator[Tensors]:
    """Yields the gradient g_i of every row: sum_i g_i^2 is the estimate itself."""
    at_once = pairs_at_once(weights)
    gradient_of_each = vmap(grad(pair_loss), in_dims=(None, *[0] * len(rows)))
    # not vmap's chunk_size: that keeps the gradients of all chunks until the last
    for part in zip(*(torch.split(column, at_once) for column in rows), strict=True):
        yield gradient_of_each(weights, *part)


def batch_gradient(pair_loss: PairLoss, weights: Tensors, rows: Rows) -> Iterator[Tensors]:
    """Yields the one row sum_i g_i: a single backward pass, whose gradient is as large as the model.

    Its square is n times the squared gradient of the mean loss of the n rows, weighted by n. Where g_i are independent
    with mean zero, E[g_i g_j] = 0 for i != j and E (sum_i g_i)^2 = sum_i E g_i^2: the expectation of `per_sample`,
    with a relative spread that does not shrink with n, only with the number of batches. Zero mean is what an optimum
    of the likelihood has; away from it the mean mu adds (n - 1) mu^2 to the Fisher information.
    """
    loss_of_each = vmap(pair_loss, in_dims=(None, *[0] * len(rows)))
    gradients: Tensors = grad(lambda values: loss_of_each(values, *rows).sum())(weights)
    yield {name: gradient[None] for name, gradient in gradients.items()}


# By the name of replay.fisher.estimator in params.yaml.
ESTIMATORS: Mapping[str, Estimator] = {"per_sample": per_sample, "batch": batch_gradient}


@dataclass(frozen=True)
class Others:
    """What a pair is told from: the unit features of its batch, as constants, and s, which multiplies cosines."""

    image_BD: torch.Tensor
    text_BD: torch.Tensor
    scale: torch.Tensor


def contrastive_loss(
    image_D: torch.Tensor, text_D: torch.Tensor, own_B: torch.Tensor, targets_B: torch.Tensor, others: Others
) -> torch.Tensor:
    """Minus the log-likelihood of one pair within its batch, in nats: its text by its image plus its image by its text.

    `own_B` is true at the pair itself, `targets_B` shares the mass 1 among the pairs of the same prompt.
    """
    cosine = image_D @ text_D
    by_image_B = others.scale * torch.where(own_B, cosine, others.text_BD @ image_D)
    by_text_B = others.scale * torch.where(own_B, cosine, others.image_BD @ text_D)
    return functional.cross_entropy(by_image_B, targets_B) + functional.cross_entropy(by_text_B, targets_B)


def shared_targets(tokens_BL: torch.Tensor) -> torch.Tensor:
    """Rows of probabilities [B, B]: pairs of the same token row share the mass equally.

    The targets of image-text alignment, not imported from there: what teach writes does not hang on a loss of training.
    """
    same_BB = (tokens_BL[:, None] == tokens_BL[None, :]).all(dim=-1).float()
    return same_BB / same_BB.sum(dim=1, keepdim=True)


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """Consecutive batches of `batch_size` and a shorter last one; a last pair alone joins the batch before it."""
    starts = range(0, max(1, count - 1), batch_size)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def pairs_at_once(weights: Mapping[str, torch.Tensor]) -> int:
    """How many gradients as large as the weights fit into GRADIENT_BYTES, at least 1."""
    return max(1, GRADIENT_BYTES // sum(value.nbytes for value in weights.values()))


def _contrast(clip: Clip, images_BCHW: torch.Tensor, tokens_BL: torch.Tensor) -> tuple[PairLoss, Rows]:
    towers = _Towers(clip)
    with torch.no_grad():
        image_BD, text_BD = towers(images_BCHW, tokens_BL)
    others = Others(image_BD, text_BD, clip.scale)

    def pair_loss(
        weights: Tensors, image_CHW: torch.Tensor, tokens_L: torch.Tensor, own_B: torch.Tensor, targets_B: torch.Tensor
    ) -> torch.Tensor:
        named = {f"model.{name}": value for name, value in weights.items()}
        image_1D, text_1D = functional_call(towers, named, (image_CHW[None], tokens_L[None]))
        return contrastive_loss(image_1D[0], text_1D[0], own_B, targets_B, others)

    own_BB = torch.eye(len(tokens_BL), dtype=torch.bool, device=clip.device)
    return pair_loss, (images_BCHW, tokens_BL, own_BB, shared_targets(tokens_BL))


class _Towers(torch.nn.Module):
    """Both towers in float32 as one module with one forward, which is what functional_call takes."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.model, self._clip = clip.model, replace(clip, precision="fp32")

    def forward(self, images_NCHW: torch.Tensor, tokens_NL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit features [N, D] of both."""
        # not encode_images: vmap cannot lay out pixels channels last
        image_ND = self.model.encode_image(images_NCHW)  # type: ignore[operator]
        return functional.normalize(image_ND, dim=-1), encode_tokens(self._clip, tokens_NL)


@contextlib.contextmanager
def _evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _add_squares(total: Tensors, gradients: Tensors) -> None:
    while gradients:  # each is let go at once: the next ones need the memory
        name, gradient_N = gradients.popitem()
        total[name] += gradient_N.square().sum(dim=0)  # not in place: two parameters' gradients may share memory


def _finite(name: str, diagonal: torch.Tensor) -> torch.Tensor:
    if not diagonal.isfinite().all():
        raise UserError(
            f"replay.fisher: the Fisher information of {name} is not finite. The teacher's weights or gradients are "
            "broken: train the task before with a smaller rate."
        )
    return diagonal
