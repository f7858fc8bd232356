"""A training loop of your own, which calls GIFT's losses and its weight consolidation.

    python examples/own_loop.py

Use this if you have a trainer already. The losses take unit features as tensors, and the consolidation takes your
parameters. One iteration is: the gradients of the replay losses, a look at them by the consolidation, the gradients of
the task loss, the pull to the start weights, the optimizer's step. It takes about ten seconds.
"""

from __future__ import annotations

import copy

import miniature
import torch

import gift_core

ITERATIONS, BATCH_SIZE, RATE = 25, 32, 5e-4


def main() -> None:
    """Trains, and prints losses on the way and accuracies."""
    torch.manual_seed(0)
    model, preprocess, tokenizer = miniature.load_model()
    teacher = copy.deepcopy(model).eval().requires_grad_(False)  # the model before the task
    task = miniature.task_images("textures", "train", 400, preprocess)
    known = miniature.task_images("symbols", "test", 200, preprocess)
    images_BCHW, prompts = zip(*miniature.replay_pairs(200, preprocess), strict=True)
    pair_images, pair_tokens = torch.stack(images_BCHW), tokenizer(list(prompts))
    class_tokens = tokenizer(task.prompts)

    model.logit_scale.requires_grad_(False)
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), weight_decay=0.0)
    consolidation = gift_core.AdaptiveFisher(parameters, weight=0.1)  # it remembers the weights as they are now
    scale = model.logit_scale.exp()
    rates = gift_core.learning_rates(ITERATIONS, warmup_iterations=2, peak=RATE)
    print(f"known symbols before: {miniature.accuracy(model, tokenizer, known):.1f} %")

    loader = task.loader(BATCH_SIZE)
    batches = (batch for _ in range(ITERATIONS) for batch in loader)  # epoch after epoch
    for iteration, (rate, (images, labels)) in enumerate(zip(rates, batches, strict=False)):
        chosen = torch.randint(len(pair_images), (BATCH_SIZE,))
        with torch.no_grad():
            teacher_image = teacher.encode_image(pair_images[chosen], normalize=True)
            teacher_text = teacher.encode_text(pair_tokens[chosen], normalize=True)
        student_image = model.encode_image(pair_images[chosen], normalize=True)
        student_text = model.encode_text(pair_tokens[chosen], normalize=True)
        same_prompt = torch.unique(pair_tokens[chosen], dim=0, return_inverse=True)[1]

        optimizer.zero_grad()
        distill = gift_core.distill(student_image, student_text, teacher_image, teacher_text, scale=scale)
        align = gift_core.align(student_image, student_text, same_prompt, scale=scale)
        (distill + 0.25 * align).backward()
        consolidation.observe({name: value.grad for name, value in parameters.items()})

        image = model.encode_image(images, normalize=True)
        text = model.encode_text(class_tokens, normalize=True)
        loss = gift_core.task_loss(image, text, labels_B=labels, scale=scale)
        loss.backward()
        penalty = consolidation.pull(parameters)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()

        if iteration % 8 == 0 or iteration == ITERATIONS - 1:
            divergence = distill - gift_core.distill_entropy(teacher_image, teacher_text, scale=scale)
            print(
                f"iteration {iteration:2}: task {loss.item():.2f}, KL from the teacher {divergence.item():.3f}, "
                f"align {align.item():.2f}, penalty {penalty.item():.3f}"
            )

    textures = miniature.task_images("textures", "test", 200, preprocess)
    print(f"textures after: {miniature.accuracy(model, tokenizer, textures):.1f} %")
    print(f"known symbols after: {miniature.accuracy(model, tokenizer, known):.1f} %")


if __name__ == "__main__":
    main()
