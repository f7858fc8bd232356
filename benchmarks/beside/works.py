"""Each stage's work, done in three ways: naively, by the function that the stage calls, and the least of it."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import RandomResizedCrop

from benchmarks.beside.inputs import Inputs
from gift_core.artifacts.features import Features
from gift_core.artifacts.shards import Pair
from gift_core.artifacts.task import index_task
from gift_core.clip.batches import TrainingImages
from gift_core.clip.encoding import class_prompts, encode_images, encode_tokens, tokenize
from gift_core.clip.images import CacheBudget, decode, evaluation_pixels, evaluation_transform, normalize
from gift_core.clip.model import Clip
from gift_core.clip.test_set import TestSet, nearest_classes
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import FolderTaskConfig
from gift_core.datasets.ingest import ingest
from gift_core.generators.filters import NoFilters
from gift_core.generators.synthesize import synthesize
from gift_core.losses import align, distill, task_loss
from gift_core.methods import build_method
from gift_core.replay.pairs import PairReplay
from gift_core.replay.teacher_features import encode_pairs
from gift_core.replay.teachers import Teacher
from gift_core.training.loop import sampled, training_mode, training_run

RATE = 1e-6  # small: the time does not depend on it, and the model stays as it is
ITERATIONS = 2
TEACH_BATCH = 256

Work = Callable[[], object]


@dataclass(frozen=True)
class Ways:
    """Three ways of one stage's work on `count` things, `unit`. `limit` does the least that it takes.

    Where the limit is a number of operations, `limit` is None and `operations` are those of `ours`.
    """

    unit: str
    count: int
    naive: Work
    ours: Work
    limit: Work | None = None
    operations: float = 0.0


def ways_of_ingest(inputs: Inputs) -> Ways:
    """Reads photos and writes them into tars. Naively: decoded, and stored as PNG files first."""
    files = sorted(inputs.data_set.glob("*/*/*.jpg"))
    config = FolderTaskConfig(
        source="folder", path=inputs.data_set.name, templates=("{}",), test_fraction=0.5, on_bad_image="refuse"
    )
    stored = IngestConfig(images_per_shard=1000, image_format="jpg", shorter_side=None)

    def naive() -> None:
        folder = _emptied(inputs.folder / "naive")
        for file in files:
            Image.open(file).convert("RGB").save(folder / f"{file.stem}.png")
        with tarfile.open(folder / "images.tar", "w") as tar:
            for image in sorted(folder.glob("*.png")):
                tar.add(image, image.name)

    def ours() -> None:
        ingest("things", config, inputs.folder / "ingested", ingest_config=stored, seed=0, root=inputs.folder)

    def limit() -> None:
        with (inputs.folder / "copy").open("wb") as copy:
            for file in files:
                content = file.read_bytes()
                Image.open(io.BytesIO(content)).load()
                copy.write(content)

    return Ways("images", len(files), naive, ours, limit)


def ways_of_synthesize(inputs: Inputs) -> Ways:
    """Generates images. Naively: one prompt after the other."""
    generator, prompts = inputs.text_to_image, inputs.prompts
    texts, seeds, size = prompts["prompt"].tolist(), prompts["seed"].tolist(), inputs.text_to_image.config.batch_size

    def naive() -> None:
        folder = _emptied(inputs.folder / "naive")
        for text, seed in zip(texts, seeds, strict=True):
            (image,) = generator.generate([text], [seed])
            image.save(folder / f"{seed}.png")

    def ours() -> None:
        _emptied(inputs.folder / "shards")
        folder = inputs.folder / "shards" / "things"
        work = inputs.folder / "work"
        synthesize(prompts, generator, folder, work=work, filters=NoFilters(), device=inputs.device)

    def limit() -> None:
        for at in range(0, len(texts), size):
            list(generator.generate(texts[at : at + size], seeds[at : at + size]))  # waits for the GPU

    return Ways("images", len(texts), naive, ours, limit)


def ways_of_teach(inputs: Inputs) -> Ways:
    """Encodes image-text pairs. Naively: each image and each text by itself."""
    clip, plain, pairs = inputs.clip, inputs.plain_clip, inputs.pairs
    images_NCHW = normalize(clip, evaluation_pixels(clip, (pair.image for pair in pairs)))
    tokens_PL = tokenize(clip, list(dict.fromkeys(pair.prompt for pair in pairs)))

    def naive() -> torch.Tensor:
        rows = [(_image_alone(plain, pair.image), _text_alone(plain, pair.prompt)) for pair in pairs]
        return torch.stack([torch.cat([image, text]).cpu() for image, text in rows])

    return Ways(
        "pairs", len(pairs), naive, lambda: features_of(clip, pairs),
        lambda: _forward(clip, images_NCHW, tokens_PL),
    )  # fmt: skip


def features_of(clip: Clip, pairs: Sequence[Pair]) -> Features:
    """Encodes the pairs as the stage teach does."""
    teacher = Teacher(clip, "benchmark")
    return encode_pairs(teacher, lambda first: iter(pairs[first:]), len(pairs), batch_size=TEACH_BATCH)[0]


def ways_of_evaluate(inputs: Inputs) -> Ways:
    """Classifies test images. Naively: each image by itself, and the texts of each class again for each image set."""
    clip, plain, (folder, info) = inputs.clip, inputs.plain_clip, inputs.task
    images = [image.read() for image in index_task(folder, "test")]
    images_NCHW = normalize(clip, evaluation_pixels(clip, images))
    tokens_PL = tokenize(clip, [text.replace("{}", name) for name in info.class_names for text in info.templates])

    def naive() -> torch.Tensor:
        rows = []
        for name in info.class_names:
            texts = [_text_alone(plain, template.replace("{}", name)) for template in info.templates]
            rows.append(torch.stack(texts).mean(dim=0))
        class_KD = torch.nn.functional.normalize(torch.stack(rows), dim=-1)
        return torch.stack([(class_KD @ _image_alone(plain, image)).argmax() for image in images]).cpu()

    def ours() -> torch.Tensor:
        return nearest_classes(clip, TestSet(folder, batch_size=TEACH_BATCH, cache_budget=CacheBudget()))

    if differ := int((naive() != ours()).sum()):
        print(f"evaluate: the naive way and ours differ in the class of {differ} of {len(images)} images, by rounding")
    return Ways("images", len(images), naive, ours, lambda: _forward(clip, images_NCHW, tokens_PL))


def ways_of_finetune(inputs: Inputs) -> Ways:
    """Trains with GIFT. Naively: everything is decoded again, texts have 77 tokens, the teacher runs in the loop."""
    clip, (folder, info), training = inputs.clip, inputs.task, inputs.training
    others = [f"thing number {number}" for number in range(inputs.size.classes, inputs.size.trained)]
    prompts, size = class_prompts([*info.class_names, *others], info.templates), inputs.size.batch
    features = features_of(clip, inputs.pairs)
    replay = PairReplay(
        clip, inputs.pairs, features, batch_size=size, names=("bench",), cache_budget=CacheBudget()
    )  # fmt: skip
    batches = TrainingImages(
        clip, index_task(folder, "train"), class_prompts=prompts, batch_size=size, crop_scale=training.crop_scale,
        names=("bench",), cache_budget=CacheBudget(),
    )  # fmt: skip
    method = build_method(inputs.gift)

    def ours() -> None:
        rates = [RATE] * ITERATIONS
        with training_run(clip, prompts, method=method, training=training, rates=rates, seed=0) as run:
            for iteration in run.iterations(sampled(batches, replay, range(ITERATIONS))):
                run.add(iteration)

    with FlopCounterMode(display=False) as counter:
        ours()
    naive = _NaiveTraining(inputs, inputs.plain_clip, prompts)
    return Ways("iterations", ITERATIONS, naive, ours, operations=counter.get_total_flops())


class _NaiveTraining:
    """GIFT as it is easily written: one loop that decodes, crops, tokenizes, and runs student and teacher."""

    def __init__(self, inputs: Inputs, clip: Clip, prompts: Sequence[str]) -> None:
        self._clip, self._inputs, self._prompts = clip, inputs, prompts
        self._weight = inputs.gift.consolidation.weight

    def __call__(self) -> None:
        clip, inputs = self._clip, self._inputs
        crop, transform = RandomResizedCrop(clip.image_size), evaluation_transform(clip)
        with training_mode(clip):
            parameters = list(clip.trainable().values())
            start = [value.detach().clone() for value in parameters]
            optimizer = torch.optim.AdamW(parameters, lr=RATE, foreach=False)
            photos, pairs = _repeated(inputs.photos), _repeated(inputs.pairs)
            for _ in range(ITERATIONS):
                chosen, replayed = list(islice(photos, inputs.size.batch)), list(islice(pairs, inputs.size.batch))
                images = torch.stack([transform(crop(decode(photo))) for photo, _ in chosen]).to(clip.device)
                labels = torch.tensor([label for _, label in chosen], device=clip.device)
                pictures = torch.stack([transform(decode(pair.image)) for pair in replayed]).to(clip.device)
                tokens = clip.tokenizer([pair.prompt for pair in replayed]).to(clip.device)
                optimizer.zero_grad()
                with torch.no_grad():
                    teacher = encode_images(clip, pictures), _encode_77(clip, tokens)
                student = encode_images(clip, pictures), _encode_77(clip, tokens)
                (distill(*student, *teacher, scale=clip.scale) + 0.25 * align(*student, scale=clip.scale)).backward()
                fisher = [value.grad**2 / (value.grad**2).mean() for value in parameters if value.grad is not None]
                classes = _encode_77(clip, clip.tokenizer(list(self._prompts)).to(clip.device))
                loss = task_loss(encode_images(clip, images), classes, labels_B=labels, scale=clip.scale)
                moves = zip(fisher, parameters, start, strict=True)
                pull = sum((importance * (value - old) ** 2).sum() for importance, value, old in moves)
                (loss + self._weight * pull).backward()
                optimizer.step()


STAGES: dict[str, Callable[[Inputs], Ways]] = {
    "ingest": ways_of_ingest,
    "synthesize": ways_of_synthesize,
    "teach": ways_of_teach,
    "finetune": ways_of_finetune,
    "evaluate": ways_of_evaluate,
}


@torch.no_grad()  # as the stages do; in inference mode, amp_bf16 takes twice as long
def _forward(clip: Clip, images_NCHW: torch.Tensor, tokens_PL: torch.Tensor) -> None:
    for images_BCHW in images_NCHW.split(TEACH_BATCH):
        encode_images(clip, images_BCHW)
    for tokens_BL in tokens_PL.split(TEACH_BATCH):
        encode_tokens(clip, tokens_BL)


@torch.inference_mode()
def _image_alone(clip: Clip, image: bytes) -> torch.Tensor:
    return encode_images(clip, evaluation_transform(clip)(decode(image))[None].to(clip.device))[0]


@torch.inference_mode()
def _text_alone(clip: Clip, text: str) -> torch.Tensor:
    return _encode_77(clip, clip.tokenizer([text]).to(clip.device))[0]


def _encode_77(clip: Clip, tokens_NL: torch.Tensor) -> torch.Tensor:
    """Unit features of rows of the model's full length."""
    features_ND: torch.Tensor = clip.model.encode_text(tokens_NL)  # type: ignore[operator]
    return torch.nn.functional.normalize(features_ND, dim=-1)


def _repeated(things: Sequence) -> Iterator:
    while True:
        yield from things


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
