"""Losses and consolidations of your own: params.yaml has their names, weights and options (docs/adding_a_method.md)."""

from __future__ import annotations

import torch


def relations(
    student_image_MD: torch.Tensor,
    student_text_MD: torch.Tensor,
    teacher_image_MD: torch.Tensor,
    teacher_text_MD: torch.Tensor,
    *,
    margin: float = 0.0,
) -> torch.Tensor:
    """Returns how far the cosines within each tower are from the teacher's, image to image plus text to text.

    The names of the parameters say which features it takes: those of M replayed images and of their texts, with D
    numbers and length 1, so a product is a cosine. What stands behind the `*` are options. The value is one number,
    which is multiplied by the weight. After Tung and Mori 2019.
    """
    images_MM = student_image_MD @ student_image_MD.T - teacher_image_MD @ teacher_image_MD.T
    texts_MM = student_text_MD @ student_text_MD.T - teacher_text_MD @ teacher_text_MD.T
    return sum((change.abs() - margin).clamp(min=0).square().mean() for change in (images_MM, texts_MM))


class Sensitivity:
    """Pulls each weight to its value at the start of the task, the more the replay losses depend on it.

    The penalty is weight * sum F * (theta - theta_start)^2. F is |g| divided by its mean in each tensor, averaged over
    the iterations so far, where g is the gradient of the replay losses. After Aljundi et al. 2018.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], *, weight: float) -> None:
        """It is made at the start of each task. `parameters` are those that are trained, by name."""
        self.weight = weight
        self.start = {name: value.detach().clone() for name, value in parameters.items()}
        self.importance = {name: torch.zeros_like(value) for name, value in self.start.items()}
        self.observed = torch.zeros((), dtype=torch.int64)  # a tensor, so that a training can be resumed

    @torch.no_grad()
    def observe(self, gradients: dict[str, torch.Tensor | None]) -> None:
        """Takes the gradients of the replay losses in each iteration. None: no loss reached the parameter."""
        self.observed += 1
        for name, importance in self.importance.items():
            gradient = gradients[name]
            newest = torch.zeros_like(importance) if gradient is None else gradient.abs()
            if newest.isfinite().all():  # float16 can overflow, and that iteration is skipped
                importance.lerp_(newest / newest.mean().clamp(min=1e-12), 1 / int(self.observed))

    @torch.no_grad()
    def pull(self, parameters: dict[str, torch.nn.Parameter]) -> torch.Tensor:
        """Adds the penalty's gradient to each parameter's `.grad`, and returns the penalty, one number."""
        penalty = torch.zeros((), device=next(iter(parameters.values())).device)
        for name, value in parameters.items():
            pulled = self.importance[name] * (value - self.start[name])
            penalty += self.weight * (pulled * (value - self.start[name])).sum()
            gradient = 2 * self.weight * pulled
            value.grad = gradient if value.grad is None else value.grad + gradient
        return penalty

    def state(self) -> list[torch.Tensor]:
        """Returns the tensors that change from one iteration to the next. A snapshot of the training has them."""
        return [self.observed, *self.importance.values()]
