"""Pairs that the library generates are those of the stage synthesize, and what is in folders is read again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

import gift_core
from gift_core.artifacts.shards import iterate_pairs
from gift_core.artifacts.tars import write_tar
from gift_core.errors import UserError
from gift_core.generators.pipeline import load_pipeline
from gift_core.generators.synthesize import synthesize
from tests.generators.conftest import SIZE, make
from tests.library.given import finetuned

PROMPTS = [f"a photo of a {name}." for name in ("cat", "cloud", "cat", "tree", "wren")]
SETTINGS: dict[str, Any] = {"steps": 2, "guidance": 3.0, "size": SIZE, "batch_size": 2, "images_per_shard": 2}
SETTINGS |= {"device": "cpu", "seed": 4, "image_format": "png"}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion, as a folder."""
    folder = tmp_path_factory.mktemp("pipeline") / "tiny"
    make("stable_diffusion").save_pretrained(str(folder))
    return folder


def pixels(pairs: Any) -> list[bytes]:
    return [image.tobytes() for image, _ in pairs]


def test_the_images_are_those_of_the_stage_in_memory_in_a_folder_and_by_a_pipeline_of_ones_own(
    pipeline: Path, tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import StableDiffusionPipeline

    from gift_core.config.experiment import GeneratorConfig

    section = mini_params["generator"] | {"pipeline": str(pipeline)} | SETTINGS
    del section["device"]
    rows = pd.DataFrame({"prompt_id": range(5), "prompt": PROMPTS, "seed": range(5)})
    device = torch.device("cpu")
    stage = load_pipeline(GeneratorConfig.model_validate(section), device)
    synthesize(rows, stage, tmp_path / "stage", work=tmp_path / "work", filters=None, device=device)
    expected = [Image.open(io.BytesIO(pair.image)).tobytes() for pair in iterate_pairs(tmp_path / "stage")]
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    in_memory = gift_core.generate_pairs(PROMPTS, pipeline=pipeline, **SETTINGS)
    assert pixels(in_memory) == expected and list(in_memory.prompts) == PROMPTS
    assert sorted(tmp_path.iterdir()) == before
    own = StableDiffusionPipeline.from_pretrained(pipeline)
    scheduler = own.scheduler
    kept = gift_core.generate_pairs(PROMPTS, pipeline=own, folder="kept", **SETTINGS)
    assert pixels(kept) == expected and own.scheduler is scheduler and not hasattr(own, "_progress_bar_config")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "kept"])
    names = [f"{number:05d}{end}" for number in range(3) for end in (".parquet", ".tar", "_stats.json")]
    assert sorted(path.name for path in Path("kept").iterdir()) == [*names, "manifest.json"]
    assert pixels(gift_core.read_pairs("kept")[1:3]) == expected[1:3]
    (image, _) = gift_core.generate_pairs(PROMPTS[:1], pipeline=pipeline, steps=2, device="cpu")[0]
    assert image.size == (own.unet.config.sample_size * own.vae_scale_factor,) * 2  # the pipeline's own
    assert len(finetuned(pairs=kept)) == 3


def test_what_a_user_should_mind_is_logged_or_switched_off(pipeline: Path, caplog: pytest.LogCaptureFixture) -> None:
    long = ["a photo of a red snowman " * 20]
    for level, lines in (("WARNING", 1), ("ERROR", 0)):
        caplog.clear()
        caplog.set_level(level, "gift_core")
        gift_core.generate_pairs(long, pipeline=pipeline, **SETTINGS)
        said = [record.getMessage() for record in caplog.records if record.name.startswith("gift_core")]
        assert said == ["1 of 1 prompts are longer than the generator's 77 tokens and are cut"] * lines


def test_an_interrupted_call_continues(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gift_core.generators.pipeline import TextToImage

    generate, sizes = TextToImage.generate, list[int]()

    def interrupted(self: TextToImage, prompts: Any, seeds: Any) -> Any:
        sizes.append(len(prompts))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return generate(self, prompts, seeds)

    monkeypatch.setattr(TextToImage, "generate", interrupted)
    folder = tmp_path / "pairs"
    with pytest.raises(KeyboardInterrupt):
        gift_core.generate_pairs(PROMPTS, pipeline=pipeline, folder=folder, **SETTINGS)
    with pytest.raises(UserError, match=r"folder: .*pairs is unfinished. Call gift_core.generate_pairs again"):
        gift_core.read_pairs(folder)
    with pytest.raises(UserError, match=r"folder: .*pairs has images with seed=4, and 5 is asked for"):
        gift_core.generate_pairs(PROMPTS, pipeline=pipeline, folder=folder, **SETTINGS | {"seed": 5})
    found = gift_core.generate_pairs(PROMPTS, pipeline=pipeline, folder=folder, **SETTINGS)
    assert sizes == [2, 2, 2, 1]  # the first shard was kept
    whole = gift_core.generate_pairs(PROMPTS, pipeline=pipeline, **SETTINGS)
    assert pixels(found) == pixels(whole)
    monkeypatch.setattr("gift_core.library.generating.pretrained_pipeline", None)
    assert pixels(gift_core.generate_pairs(PROMPTS, pipeline=pipeline, folder=folder, **SETTINGS)) == pixels(whole)
    with pytest.raises(UserError, match=r"folder: .*pairs has the images of other prompts"):
        gift_core.generate_pairs(PROMPTS[:4], pipeline=pipeline, folder=folder, **SETTINGS)
    saving = {"vae_slicing": True, "vae_tiling": False, "offload": "none", "attention": None}
    with_memory = tmp_path / "with memory"
    monkeypatch.undo()
    gift_core.generate_pairs(PROMPTS, pipeline=pipeline, folder=with_memory, **SETTINGS, memory=saving)
    with pytest.raises(UserError, match=r"has images with memory\.vae_slicing=True, and None is asked for"):
        gift_core.generate_pairs(PROMPTS, pipeline=pipeline, folder=with_memory, **SETTINGS)


def test_an_image_that_stays_black_is_an_error_of_the_library(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gift_core.generators.pipeline import TextToImage

    monkeypatch.setattr(TextToImage, "generate", lambda self, prompts, seeds: [Image.new("RGB", (8, 8))] * len(seeds))
    message = r"^gift_core: prompt 0 \('a photo of a cat.'\) gave a black image 3 times.*: raise max_redraws, or use"
    with pytest.raises(UserError, match=message):
        gift_core.generate_pairs(PROMPTS[:1], pipeline=pipeline, max_redraws=2, **SETTINGS)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: gift_core.generate_pairs("a cat", pipeline="x"), r"prompts: 'a cat', expected ."),
    (lambda: gift_core.generate_pairs([""], pipeline="x"), r"prompts: \[''\], expected ."),
    (lambda: gift_core.generate_pairs(PROMPTS, pipeline=7), r"pipeline: 7, expected a pipeline of diffusers"),
    (lambda: gift_core.generate_pairs(PROMPTS, pipeline="./nowhere"), r"pipeline: no folder ./nowhere"),
    (lambda: gift_core.generate_pairs(PROMPTS, pipeline="x/y", size=9), r"generate_pairs.size: should be a multiple"),
    (lambda: gift_core.generate_pairs(PROMPTS, pipeline="x/y", step=9), r"generate_pairs.step: .* Did you mean 'st"),
    (lambda: gift_core.generate_pairs(PROMPTS, pipeline="x/y", folder=Path(__file__)), r"folder: .*py is a file"),
    (lambda: gift_core.generate_pairs(PROMPTS, pipeline="x/y", folder=Path(__file__).parent), r"has other files"),
    (lambda: gift_core.read_pairs("nowhere"), r"folder: nowhere: no such folder"),
    (lambda: gift_core.vocabulary("imagnet"), r"vocabulary: 'imagnet' is no list and no file. Did you mean 'imagenet'"),
    (lambda: gift_core.sample_prompts("cat", 3), r"names: 'cat', expected texts"),
    (lambda: gift_core.sample_prompts(["cat"], 0), r"count is 0, expected a whole number from 1"),
    (lambda: gift_core.sample_prompts(["cat"], 3, template="a cat"), r"template: 'a cat' has no {} for the name"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_does_not_fit_is_refused_by_the_name_of_the_argument(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^gift_core: .*{message}|^gift_core: {message}"):
        call()


def test_prompts_are_of_all_names_and_follow_the_seed() -> None:
    names = ["shirt", *gift_core.vocabulary("mini")[:3]]
    prompts = gift_core.sample_prompts(names, 200, template="a photo of a {}.", seed=1)
    assert {*prompts} == {f"a photo of a {name}." for name in names} and len(prompts) == 200
    assert prompts == gift_core.sample_prompts(names, 200, template="a photo of a {}.", seed=1)
    assert prompts != gift_core.sample_prompts(names, 200, template="a photo of a {}.", seed=2)
    assert len(gift_core.vocabulary("imagenet")) == 1000


def test_what_img2dataset_writes_is_read_as_tars_and_as_files(tmp_path: Path) -> None:
    expected = []
    for number in range(3):
        image = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 9)).save(image, "PNG")
        expected.append((f"{number:09d}", image.getvalue(), f"a caption\nof {number}"))
    samples = [
        (key, {"jpg": image, "txt": text.encode(), "json": json.dumps({"key": key, "status": "success"}).encode()})
        for key, image, text in expected
    ]
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "00000.tar", samples[:2])
    write_tar(tmp_path / "tars" / "00001.tar", samples[2:])
    (tmp_path / "tars" / "00000_stats.json").write_text("{}")
    for key, files in samples:
        for extension, data in files.items():
            path = tmp_path / "files" / "00000" / f"{key}.{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for folder in ("tars", "files"):
        pairs = gift_core.read_pairs(tmp_path / folder)
        assert [(image.getpixel((0, 0)), prompt) for image, prompt in pairs] == [
            ((number, 0, 9), f"a caption of {number}") for number in range(3)
        ]
    (tmp_path / "files" / "00000" / "000000001.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"pairs\[1\]: 00000/000000001.jpg: no image, or a damaged one"):
        list(gift_core.read_pairs(tmp_path / "files"))
    (tmp_path / "files" / "00000" / "000000001.txt").unlink()
    with pytest.raises(UserError, match=r"folder: 00000/000000001.jpg has no caption"):
        gift_core.read_pairs(tmp_path / "files")
