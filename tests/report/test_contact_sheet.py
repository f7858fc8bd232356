"""Contact sheets: thumbnails and the choice of tasks."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

from gift_core.layout import Layout
from gift_core.report.contact_sheet import evenly_spaced, thumbnail
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.report.run_folder import write_run


def test_large_images_are_scaled_down() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (512, 256), "red").save(buffer, "PNG")
    large = thumbnail("a photo", buffer.getvalue())
    assert large.side == 128
    assert large.data_uri.startswith("data:image/jpeg;base64,")
    assert len(large.data_uri) < 3000


def test_evenly_spaced_positions_include_both_ends() -> None:
    assert evenly_spaced(5, 12) == [0, 1, 2, 3, 4]
    assert evenly_spaced(23, 12) == list(range(0, 23, 2))


def test_rejected_pairs_are_counted(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    manifest = Layout(tmp_path).shards("textures") / "manifest.json"
    counts = {"rejected": {"clip_score": 1200, "duplicate": 3}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | counts))
    html = render_page(read_run(Layout(tmp_path), config))
    assert "24 of 30 pairs, 2 generated again; rejected by filters: 1,200 low CLIP score, 3 near-duplicate" in html
    assert html.count("rejected by filters") == 1
