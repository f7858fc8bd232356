"""GIFT (CVPR 2025) from the first line to the last: torch, open_clip, diffusers, and the losses of gift_core.

    python examples/gift_in_one_page.py
    python examples/gift_in_one_page.py --photos photos/birds --known photos/pets --model ViT-B-16-quickgelu \\
        --pretrained openai --generator stable-diffusion-v1-5/stable-diffusion-v1-5 --rate 1e-5 --iterations 1000

A CLIP learns the classes of the folder `photos` (photos/train/CLASS/*, photos/test/CLASS/*), and trains on generated
images of classes that it knows, so that it keeps these. Without options it is the miniature CLIP, in half a minute.
`gift_core.finetune` and the pipeline do the same, and resume, need less memory, and check what they are given.

B images of the task, K classes, M generated pairs, L tokens, S pixels a side, D features.
"""

from __future__ import annotations

import argparse
import copy
import random
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import miniature
import open_clip
import torch
from diffusers import DiffusionPipeline
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder

import gift_core

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH_SIZE, STEPS = 32, 25  # STEPS of denoising
Batches, Losses = Iterable[tuple[torch.Tensor, torch.Tensor]], Iterator[dict[str, float]]


def generate(prompts: list[str], generator: str) -> list[Any]:
    """Returns an image for each prompt. The replay needs no photo of what was learned before."""
    pipeline = DiffusionPipeline.from_pretrained(generator).to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    images: list[Any] = []
    for first in range(0, len(prompts), BATCH_SIZE):
        batch = prompts[first : first + BATCH_SIZE]
        seeds = [torch.Generator(DEVICE).manual_seed(first + row) for row in range(len(batch))]
        images += pipeline(batch, generator=seeds, num_inference_steps=STEPS).images
    return images


def learn(model: Any, class_tokens_KL: torch.Tensor, task: Batches, replay: Batches, rates: list[float]) -> Losses:
    """Trains the model in place for len(rates) iterations. Yields the losses of each.

    `task` has batches of images [B, 3, S, S] and labels [B], `replay` of images [M, 3, S, S] and prompts [M, L].
    """
    teacher = copy.deepcopy(model).eval().requires_grad_(False)  # the model before the task
    model.eval()  # BatchNorm keeps its statistics, which no replay could hold
    model.logit_scale.requires_grad_(False)  # the temperature stays
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), betas=(0.9, 0.999), weight_decay=0.0)
    consolidation = gift_core.AdaptiveFisher(parameters, weight=1.0)  # it keeps a copy of the weights as they are now
    scale = model.logit_scale.exp()
    for rate, (images, labels), (pair_images, pair_tokens) in zip(rates, task, replay, strict=False):
        with torch.no_grad():
            teacher_image = teacher.encode_image(pair_images, normalize=True)
            teacher_text = teacher.encode_text(pair_tokens, normalize=True)
        student_image = model.encode_image(pair_images, normalize=True)
        student_text = model.encode_text(pair_tokens, normalize=True)
        prompt_ids = torch.unique(pair_tokens, dim=0, return_inverse=True)[1]  # equal prompts are no mistakes of align

        # 1. On generated pairs the student should predict what the teacher predicts (distill), and match each image
        #    to its prompt (align), which corrects the teacher's mistakes.
        optimizer.zero_grad()
        distill = gift_core.distill(student_image, student_text, teacher_image, teacher_text, scale=scale)
        align = 0.25 * gift_core.align(student_image, student_text, prompt_ids, scale=scale)
        (distill + align).backward()

        # 2. Where these gradients are large, the weights matter for what the model knows: that is their importance.
        consolidation.observe({name: value.grad for name, value in parameters.items()})

        # 3. The new task: which class prompt is the nearest to the image?
        class_KD = model.encode_text(class_tokens_KL, normalize=True)
        image_BD = model.encode_image(images, normalize=True)
        task_loss = gift_core.task_loss(image_BD, class_KD, labels_B=labels, scale=scale)
        task_loss.backward()

        # 4. Important weights are pulled to where they were before the task. Then the step.
        penalty = consolidation.pull(parameters)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses = {"task": task_loss, "distill": distill, "align": align, "consolidation": penalty}
        yield {name: value.item() for name, value in losses.items()}


def forever(loader: Iterable[Any]) -> Iterator[Any]:
    """Yields its batches on the device, epoch after epoch."""
    while True:
        for images, others in loader:
            yield images.to(DEVICE), others.to(DEVICE)


def tested(model: Any, tokenizer: Any, data: ImageFolder) -> float:
    """Returns the percentage of images whose nearest class prompt is that of their class."""
    prompts = [f"a photo of a {name}." for name in data.classes]
    return 100 * gift_core.accuracy(model, tokenizer, DataLoader(data, batch_size=64), prompts, device=DEVICE).accuracy


def read_options(folder: str) -> argparse.Namespace:
    """Returns the options of the command line. The miniature's photos are written to `folder`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--known", help="folder with CLASS/*: images of these classes are generated, the photos test")
    parser.add_argument("--model", default=miniature.MODEL, help="name of an open_clip model")
    parser.add_argument("--pretrained", help="its weights, such as openai")
    parser.add_argument("--generator", default=miniature.GENERATOR, help="a text-to-image pipeline of diffusers")
    parser.add_argument("--iterations", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=5e-4, help="largest learning rate (default: %(default)s)")
    parser.add_argument("--count", type=int, default=100, help="generated images (default: %(default)s)")
    options = parser.parse_args()
    if options.photos is None:
        options.photos, options.known = miniature.write_photos(folder)
    return options


def main() -> None:
    """Generates, trains, and prints accuracies before and after."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        options = read_options(folder)
        model, _, preprocess = open_clip.create_model_and_transforms(options.model, pretrained=options.pretrained)
        model, tokenizer = model.to(DEVICE).eval(), open_clip.get_tokenizer(options.model)
        train = ImageFolder(f"{options.photos}/train", preprocess)
        new, known = ImageFolder(f"{options.photos}/test", preprocess), ImageFolder(options.known, preprocess)
        tests = {"new classes": new, "known classes": known}
        before = {name: tested(model, tokenizer, data) for name, data in tests.items()}

        prompts = [f"a photo of a {name}." for name in random.Random(0).choices(known.classes, k=options.count)]
        images = generate(prompts, options.generator)
        pairs = TensorDataset(torch.stack([preprocess(image) for image in images]), tokenizer(prompts))
        task, replay = (forever(DataLoader(data, BATCH_SIZE, shuffle=True, drop_last=True)) for data in (train, pairs))
        class_tokens = tokenizer([f"a photo of a {name}." for name in train.classes]).to(DEVICE)
        iterations, rate = options.iterations, options.rate
        rates = gift_core.learning_rates(iterations, warmup_iterations=iterations // 10, peak=rate)
        for iteration, losses in enumerate(learn(model, class_tokens, task, replay, rates)):
            if iteration % 10 == 0 or iteration == iterations - 1:
                print(f"iteration {iteration}:", ", ".join(f"{name} {value:.3f}" for name, value in losses.items()))
        for name, data in tests.items():
            print(f"{name}: {before[name]:.1f} % -> {tested(model, tokenizer, data):.1f} %")


if __name__ == "__main__":
    main()
