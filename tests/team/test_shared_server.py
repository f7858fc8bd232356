"""A group on one server: with the umask of docs/team.md, each member may read and replace what another one wrote."""

from __future__ import annotations

import os
from pathlib import Path

from gift_core.artifacts.contract import write_json
from gift_core.work.publishing import build_folder


def test_what_a_stage_writes_has_the_modes_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with build_folder(tmp_path / "model") as folder:
            (folder / "model.safetensors").write_bytes(b"weights")
        write_json(tmp_path / "rows.json", [1])
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"model": 0o775, "model.safetensors": 0o664, "rows.json": 0o664}
