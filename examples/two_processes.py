"""Two processes share each batch and get the gradients of the whole batch, with torch's DistributedDataParallel.

    python examples/two_processes.py

The replay losses compare each image of a batch with each text of the batch. So every process gathers the features of
all processes. The task loss is a mean over images, which DistributedDataParallel takes by itself. torchrun and
Accelerate use the same class: the losses and their order stay as here. It takes about half a minute.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import miniature
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import gift_core

ITERATIONS, BATCH_SIZE, RATE = 8, 32, 5e-4  # the batch size is that of all processes together


def gathered(own_MX: torch.Tensor) -> torch.Tensor:
    """Returns the rows of all processes. Those of this process keep their graph."""
    rows = [torch.empty_like(own_MX) for _ in range(distributed.get_world_size())]
    distributed.all_gather(rows, own_MX.detach().contiguous())
    rows[distributed.get_rank()] = own_MX
    return torch.cat(rows)


def train(rank: int, count: int, folder: str) -> None:
    """Trains as process `rank` of `count`. The first one writes the gradients of the first iteration."""
    torch.set_num_threads(1)
    # on GPUs: "nccl", and a device for each rank
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group_{count}", rank=rank, world_size=count)
    model, preprocess, tokenizer = miniature.load_model()
    teacher = copy.deepcopy(model).requires_grad_(False)
    task = miniature.task_images("textures", "train", 200, preprocess)
    images, prompts = zip(*miniature.replay_pairs(200, preprocess), strict=True)
    pair_images, pair_tokens, class_tokens = torch.stack(images), tokenizer(list(prompts)), tokenizer(task.prompts)
    prompt_ids = torch.unique(pair_tokens, dim=0, return_inverse=True)[1]

    model.logit_scale.requires_grad_(False)
    scale = model.logit_scale.exp()
    parallel = DistributedDataParallel(model)  # calls model(images, tokens): unit features of both
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=0.0)
    consolidation = gift_core.AdaptiveFisher(parameters, weight=0.1)
    for iteration in range(ITERATIONS):
        order = torch.Generator().manual_seed(iteration)  # the same in each process, which takes its share
        chosen = torch.randint(len(task.images), (BATCH_SIZE,), generator=order)[rank::count]
        replayed = torch.randint(len(pair_images), (BATCH_SIZE,), generator=order)[rank::count]
        with torch.no_grad():
            teacher_image, teacher_text, _ = teacher(pair_images[replayed], pair_tokens[replayed])
        student_image, student_text, _ = parallel(pair_images[replayed], pair_tokens[replayed])

        student = gathered(student_image), gathered(student_text)
        distill = gift_core.distill(*student, gathered(teacher_image), gathered(teacher_text), scale=scale)
        align = gift_core.align(*student, gathered(prompt_ids[replayed]), scale=scale)
        optimizer.zero_grad()
        # Each process has the whole loss, and the gradient through its own rows. The gradient is their sum, and
        # DistributedDataParallel takes the mean.
        (count * (distill + 0.25 * align)).backward()
        consolidation.observe({name: value.grad for name, value in parameters.items()})

        image, text, _ = parallel(task.images[chosen], class_tokens)
        loss = gift_core.task_loss(image, text, labels_B=task.labels[chosen], scale=scale)
        loss.backward()
        consolidation.pull(parameters)  # the same in each process, so after the gradients are shared
        if iteration == 0 and rank == 0:
            torch.save({name: value.grad for name, value in parameters.items()}, f"{folder}/gradients_{count}.pt")
        optimizer.step()
    if rank == 0:
        print(f"processes: {count}, last iteration: distill {distill.item():.3f}, align {align.item():.3f}")
    distributed.destroy_process_group()


def main() -> None:
    """Trains in one process and in two, and prints how far their gradients are from each other."""
    with tempfile.TemporaryDirectory() as folder:
        train(0, 1, folder)
        torch.multiprocessing.spawn(train, (2, folder), nprocs=2)
        one, two = (torch.load(Path(folder, f"gradients_{count}.pt")) for count in (1, 2))
    largest = max(float(value.abs().max()) for value in one.values())
    difference = max(float((one[name] - two[name]).abs().max()) for name in one)
    print(f"gradients of one process and of two: up to {largest:.1g}, they differ by at most {difference:.1g}")


if __name__ == "__main__":
    main()
