"""Contact sheets: thumbnails and the choice of tasks."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gift_core.artifacts.prompt_files import read_prompts, write_prompts
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from gift_core.report.thumbnails import a_few, contact_sheets, evenly_spaced, thumbnail
from tests.report.run_folder import PROMPTS, TASKS, write_pictures, write_run

HERE = {"file": Path("here.tar"), "stage": "ingest"}


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_small_images_are_shown_as_they_are() -> None:
    small = encoded(Image.new("RGB", (32, 24), "red"))
    shown = thumbnail("a glyph", small, **HERE)
    assert (shown.side, shown.data_uri) == (32, f"data:image/png;base64,{base64.b64encode(small).decode()}")


def test_other_images_are_scaled_down_and_their_bytes_are_bounded() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 300, 3), dtype=np.uint8)
    long_comment = PngInfo()
    long_comment.add_text("comment", "x" * 10**5)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=long_comment)
    photo = Image.fromarray(noise)
    images = [encoded(photo), encoded(photo, "JPEG"), encoded(photo.convert("P"), "GIF"), buffer.getvalue()]
    for image in [*images, encoded(Image.fromarray(noise[:96, :96]))]:
        shown = thumbnail("noise", image, **HERE)
        assert len(shown.data_uri) < 12_000 and shown.side <= 96
        assert shown.data_uri.startswith("data:image/jpeg;base64,")


def test_a_damaged_image_is_refused_with_its_file_and_stage() -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)))
    message = r"^here\.tar: the image of 'a photo' .*Recreate it with: dvc repro ingest"
    for damaged in (b"no image", whole[:4000]):
        with pytest.raises(ContractError, match=message):
            thumbnail("a photo", damaged, **HERE)


def test_evenly_spaced_positions_include_both_ends() -> None:
    assert (evenly_spaced(5, 12), evenly_spaced(23, 12)) == ([0, 1, 2, 3, 4], list(range(0, 23, 2)))
    assert (a_few("abcde", 3), a_few("abc", 1), a_few("", 3)) == (["a", "c", "e"], ["a"], [])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Of a run with pictures."""
    write_pictures(Layout(tmp_path), write_run(tmp_path))
    return Layout(tmp_path)


def test_a_sheet_shows_pairs_of_each_source(layout: Layout) -> None:
    sheets = contact_sheets(layout, TASKS)
    shown = [[(group.source, group.total, len(group.thumbnails)) for group in sheet.groups] for sheet in sheets]
    assert shown == [
        [("base vocabulary", 12, 12)],
        [("base vocabulary", 12, 12), ("letters", 12, 12)],
        [("base vocabulary", 12, 8), ("letters", 12, 8), ("textures", 12, 8)],
    ]
    letters = sheets[2].groups[1].thumbnails
    assert [image.text for image in letters[:2]] == [f"{PROMPTS[0]} letters 0", f"{PROMPTS[0]} letters 1"]


def test_a_source_with_few_pairs_leaves_its_space_to_the_others(layout: Layout) -> None:
    prompts = read_prompts(layout.prompts("zodiac"))
    prompts.loc[4:, "source_task"] = "base"  # 0 base, 1 letters, 2 textures, 3 base; 36 in all
    write_prompts(layout.prompts("zodiac"), prompts)
    shown = [(group.total, len(group.thumbnails)) for group in contact_sheets(layout, TASKS)[-1].groups]
    assert shown == [(34, 22), (1, 1), (1, 1)]


def test_a_long_sequence_shows_eight_sources(tmp_path: Path) -> None:
    tasks = tuple("abcdefghijkl")
    config = write_run(tmp_path, tasks=tasks, matrices={"gift": [[50] * 12] * 13})
    write_pictures(Layout(tmp_path), config, ())
    last = contact_sheets(Layout(tmp_path), tasks)[-1]
    assert [group.source for group in last.groups] == ["base vocabulary", "b", "c", "e", "f", "h", "i", "k"]
    assert len(last.thumbnails) == 24


def test_rejected_pairs_are_counted(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    manifest = Layout(tmp_path).shards("textures") / "manifest.json"
    counts = {"rejected": {"clip_score": 1200, "duplicate": 3}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | counts))
    html = render_page(read_run(Layout(tmp_path), config))
    assert "24 of 30 pairs, 2 generated again; rejected by filters: 1,200 low CLIP score, 3 near-duplicate" in html
    assert html.count("rejected by filters") == 1
