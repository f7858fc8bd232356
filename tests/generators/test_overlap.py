"""On a GPU, images are finished by threads while the next ones are generated, with the same result as without.

In most tests the device only says "cuda": generators and scorers are toys. Events make sure of the order, never clocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators import synthesize as module
from gift_core.generators.filters import NoFilters, QualityFilters, load_filters
from gift_core.generators.pipeline import load_pipeline
from gift_core.generators.synthesize import AHEAD, synthesize
from gift_core.work.overlap import Copies
from tests.artifacts.damage import tree_hash
from tests.generators import test_filters, test_synthesize, tiny
from tests.generators.test_filters import BLUE, GREEN, ORANGE, RED, ToyScorer
from tests.generators.test_synthesize import CONFIG, PROMPTS, image_seed

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SECONDS = 20  # until a test fails that would hang


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no second stream without a GPU."""
    monkeypatch.setattr(module, "Copies", lambda device: Copies(CPU))


def background_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("background")]


class Waiting(Sequence[Image.Image]):
    """Images that can be read once `finish` is set."""

    def __init__(self, images: Sequence[Image.Image], finish: threading.Event) -> None:
        self.images, self.finish, self.begun = images, finish, threading.Event()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self.begun.set()
        assert self.finish.wait(SECONDS)
        return self.images[index]


class Painter(test_synthesize.Painter):
    """`before(number)` runs when batch `number` is generated. Its images can be read once `finish[number]` is set."""

    def __init__(self, config: GeneratorConfig = CONFIG, black_seeds: Sequence[int] = ()) -> None:
        super().__init__(config, black_seeds)
        self.made: list[Waiting] = []
        self.finish = [threading.Event() for _ in range(20)]

    def before(self, number: int) -> None:
        self.finish[number].set()

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> Sequence[Image.Image]:  # type: ignore[override]
        number = len(self.made)
        self.made.append(Waiting(super().generate(prompts, seeds), self.finish[number]))
        self.before(number)
        return self.made[number]


class Noting(test_synthesize.Painter):
    """Notes the seeds of each batch."""

    def __init__(self, config: GeneratorConfig, black_seeds: Sequence[int]) -> None:
        super().__init__(config, black_seeds)
        self.calls: list[tuple[int, ...]] = []

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        self.calls.append(tuple(seeds))
        return super().generate(prompts, seeds)


def run(painter: test_synthesize.Painter, folder: Path, device: torch.device = GPU) -> dict[str, str]:
    synthesize(PROMPTS, painter, folder / "shards", work=folder / "work", filters=NoFilters(), device=device)
    return tree_hash(folder / "shards")


def test_a_batch_is_finished_while_the_next_one_is_generated(tmp_path: Path) -> None:
    class Overlapping(Painter):
        def before(self, number: int) -> None:
            if number:  # in the middle of generating a batch, the one before is being finished
                assert self.made[number - 1].begun.wait(SECONDS)
                self.finish[number - 1].set()
            if number == 3:  # the last
                self.finish[3].set()

    run(Overlapping(CONFIG.model_copy(update={"images_per_shard": 7, "batch_size": 2})), tmp_path)
    assert not background_threads()


def test_at_most_a_few_batches_wait_to_be_finished(tmp_path: Path) -> None:
    one_by_one = CONFIG.model_copy(update={"batch_size": 1})

    class Eager(Painter):
        """No batch can be finished before as many wait as may wait. A further one would come too early."""

        def before(self, number: int) -> None:
            if number < AHEAD + 1:
                assert not self.finish[0].is_set()
            if number == AHEAD:
                threading.Timer(0.3, self.release).start()
            if number > AHEAD:
                assert self.finish[0].is_set(), "generated although enough batches waited"

        def release(self) -> None:
            for event in self.finish:
                event.set()

    painter = Eager(one_by_one)
    run(painter, tmp_path)
    assert len(painter.made) == 7


def test_overlap_changes_no_byte_even_where_images_are_generated_again(tmp_path: Path) -> None:
    black = [image_seed(prompt, attempt) for prompt, attempt in ((0, 0), (1, 0), (1, 1), (4, 0), (6, 0), (6, 1))]
    for config in (CONFIG, CONFIG.model_copy(update={"batch_size": 1}), CONFIG.model_copy(update={"batch_size": 5})):
        painters = [Noting(config, black_seeds=black) for _ in range(2)]
        one, other = (
            run(painter, tmp_path / f"{config.batch_size}-{device.type}", device)
            for painter, device in zip(painters, (CPU, GPU), strict=True)
        )
        assert list(one.values()) == list(other.values())
        assert sorted(painters[0].calls) == sorted(painters[1].calls)  # the same batches


def test_filters_decide_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    """The first batch has a duplicate, whose second attempt decides about the images of the second batch."""
    script = {(0, 0): RED, (1, 0): RED, (1, 1): GREEN, (2, 0): GREEN, (2, 1): BLUE, (3, 0): ORANGE}
    trees = []
    for device in (CPU, GPU):
        painter = test_filters.Painter(test_filters.config(min_clip_score=None, max_similarity=0.85), script)
        filters = QualityFilters(painter.config.filters, ToyScorer())
        folder = tmp_path / device.type
        synthesize(
            test_filters.PROMPTS, painter, folder / "shards", work=folder / "work", filters=filters, device=device
        )
        trees.append(list(tree_hash(folder / "shards").values()))
    assert trees[0] == trees[1]


def test_an_error_of_the_background_is_raised_before_a_further_batch_is_generated(tmp_path: Path) -> None:
    finished = threading.Event()

    class Failing(Painter):
        def before(self, number: int) -> None:
            self.finish[number].set()
            if number == 1:
                assert finished.wait(SECONDS)

    class Broken(NoFilters):
        def verdict(self, image: bytes, prompt: str):  # type: ignore[no-untyped-def]
            try:
                raise UserError("the scorer broke")
            finally:
                finished.set()

    painter = Failing()
    with pytest.raises(UserError, match="the scorer broke"):
        synthesize(PROMPTS, painter, tmp_path / "a", work=tmp_path / "w", filters=Broken(), device=GPU)
    assert len(painter.made) <= 3
    assert not (tmp_path / "a").exists() and not background_threads()


def test_an_image_that_stays_black_is_the_same_error(tmp_path: Path) -> None:
    black = [image_seed(1, attempt) for attempt in range(3)]
    with pytest.raises(UserError, match=r"prompt 1 .* gave a black image 3 times"):
        run(test_synthesize.Painter(black_seeds=black), tmp_path)


def test_an_interrupted_run_keeps_its_finished_shards_and_continues_to_the_same_bytes(tmp_path: Path) -> None:
    class Interrupted(Painter):
        def before(self, number: int) -> None:
            super().before(number)
            if number == 4:
                assert shard_written.wait(SECONDS)
                raise KeyboardInterrupt

    shard_written = threading.Event()
    write = module.write_json

    def written(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]  # the last file of a shard
        shard_written.set()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "write_json", written)
        run(Interrupted(), tmp_path)
    assert not background_threads() and not (tmp_path / "shards").exists()
    second = test_synthesize.Painter()
    resumed = run(second, tmp_path)
    assert second.batches < 5  # those of a run from the start
    assert list(resumed.values()) == list(run(test_synthesize.Painter(), tmp_path / "whole", CPU).values())


def test_an_interruption_waits_for_no_image_whose_encoding_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding, end, encoded = threading.Event(), threading.Event(), list[Image.Image]()

    def encode(image: Image.Image, image_format: str) -> bytes:
        encoded.append(image)
        encoding.set()
        assert end.wait(SECONDS)
        return b""

    class Interrupted(Painter):
        def before(self, number: int) -> None:
            super().before(number)
            if number == 2:
                assert encoding.wait(SECONDS)
                threading.Timer(1.0, end.set).start()  # the first image is being encoded until then
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "_encode", encode)
    monkeypatch.setattr(module, "ENCODERS", 1)
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(), tmp_path)
    assert len(encoded) == 1 and not background_threads()


def test_what_a_resumed_run_recalls_is_recalled_in_its_order(tmp_path: Path) -> None:
    """Shard 1 is finished, shards 0 and 2 are not: the images of shard 0 are not compared with those of shard 1."""
    order: list[str] = []

    class NotingFilters(NoFilters):
        compares_images = True

        def verdict(self, image: bytes, prompt: str):  # type: ignore[no-untyped-def]
            order.append(prompt)
            return super().verdict(image, prompt)

        def recall(self, images):  # type: ignore[no-untyped-def]
            order.append(f"recalled {len(list(images))}")

    with pytest.raises(KeyboardInterrupt):
        run(test_synthesize.Painter(fail_after=4), tmp_path, CPU)
    (unfinished,) = (tmp_path / "work").iterdir()
    (unfinished / "00000.tar").unlink()
    synthesize(
        PROMPTS, test_synthesize.Painter(), tmp_path / "a", work=tmp_path / "work", filters=NotingFilters(), device=GPU
    )
    assert order == [*PROMPTS.prompt[:3], "recalled 3", PROMPTS.prompt[6]]


def overlapped_and_not(folder: Path, prompts: pd.DataFrame, config: GeneratorConfig, device: torch.device) -> Any:
    """The two manifests, and the hashes of the files of both, of a real pipeline on `device`."""
    manifests, trees = [], []
    for kind in (CPU, GPU):
        out = folder / kind.type
        manifests.append(
            synthesize(
                prompts, load_pipeline(config, device), out / "shards", work=out / "work",
                filters=load_filters(config.filters, device), device=kind,
            )
        )  # fmt: skip
        trees.append(list(tree_hash(out / "shards").values()))
    return manifests, trees


@pytest.fixture
def real_streams(monkeypatch: pytest.MonkeyPatch, no_cuda: None, device: torch.device) -> None:
    if device.type == "cuda":
        monkeypatch.setattr(module, "Copies", Copies)


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_every_family_has_the_same_bytes_with_overlap(
    family: str,
    tmp_path: Path,
    folder_of: Callable[[str], str],
    settings: Callable[..., GeneratorConfig],
    device: torch.device,
    real_streams: None,
) -> None:
    config = settings(folder_of(family), batch_size=2, images_per_shard=3)
    (first, second), trees = overlapped_and_not(tmp_path, PROMPTS, config, device)
    assert trees[0] == trees[1]
    assert first["images"] == second["images"] == len(PROMPTS)


def test_the_miniature_with_filters_has_the_same_bytes_with_overlap(
    tmp_path: Path, project: Path, mini_params: dict[str, Any], device: torch.device, real_streams: None
) -> None:
    """Pipeline and scorer are real. Some images are near-duplicates and generated again."""
    scorer = {"name": f"local-dir:{project / 'data/mini/clip'}", "pretrained": None}
    filters = {"scorer": scorer, "min_clip_score": None, "max_similarity": 0.97, "max_redraws": 50}
    section = {
        **mini_params["generator"], "pipeline": str(project / "data/mini/diffusion"), "steps": 2, "batch_size": 3,
        "images_per_shard": 4, "filters": filters,
    }  # fmt: skip
    config = GeneratorConfig.model_validate(section)
    prompts = PROMPTS.assign(prompt=["a photo of a cloud."] * 7)
    manifests, trees = overlapped_and_not(tmp_path, prompts, config, device)
    assert trees[0] == trees[1]
    assert manifests[0]["rejected"]["duplicate"] > 0
