"""What the machine refuses ends in one message: what was done, the path or the size, the reason, the remedy."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from typer.testing import CliRunner

from gift_core.config.loading import load_config
from gift_core.errors import ContractError, UserError
from gift_core.stage_facts import STAGES
from gift_core.work.os_errors import explain
from gift_core.work.publishing import build_folder
from stages.app import app
from tests.imports import ROOT
from tests.mounts import read_only, small_disk

LARGE = np.zeros(1 << 17)
WRITERS: dict[str, Callable[[Path], object]] = {
    "python": lambda path: path.write_bytes(LARGE.tobytes()),
    "safetensors": lambda path: save_file({"a": torch.from_numpy(LARGE)}, path),
    "pyarrow": lambda path: pq.write_table(pa.table({"a": np.random.default_rng(0).random(1 << 17)}), path),
    "tokenizers": lambda path: Tokenizer(models.WordLevel({f"{n}": n for n in range(50_000)}, "0")).save(str(path)),
}


def explained(act: Callable[..., object], *arguments: object) -> str:
    try:
        act(*arguments)
    except Exception as error:
        return str(explain(error, doing="finetune@gift-letters", phase="writing", stage="finetune"))
    raise AssertionError("it should have failed")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_and_a_read_only_one_are_recognized_in_the_errors_of_each_library(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    def into_a_folder(disk: Path) -> None:
        with build_folder(disk / "out") as unfinished:
            write(unfinished / "file")

    with small_disk(tmp_path / "disk", 256) as disk:
        message = explained(into_a_folder, disk)
        assert message.startswith(f"finetune@gift-letters: {disk / 'out'}: No space left on device while writing.")
        assert "Free some space there" in message and message.endswith("the old one stays until the new one is whole.")
        assert list(disk.iterdir()) == []
    (tmp_path / "locked").mkdir()
    with read_only(tmp_path / "locked") as folder:
        message = explained(write, folder / "out")
    assert str(folder) in message or write is WRITERS["tokenizers"]
    assert "Read-only file system while writing" in message and "Change its owner" in message


def test_an_error_of_the_library_gives_way_only_if_the_machine_lacks_something() -> None:
    lost = ContractError("out.tar: it should be a whole tar, but [Errno 5]. Recreate it with: dvc repro ingest")
    lost.__cause__ = OSError(errno.EIO, "Input/output error", "out.tar")
    assert "Input/output error" in str(explain(lost, doing="finetune@gift-birds"))
    wrong = UserError("--out a: it is a file.")
    wrong.__cause__ = NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b")
    assert explain(wrong, doing="gift export") is None
    assert explain(UserError("a message that has [Errno 28] in it"), doing="gift export") is None
    assert explain(UserError(str(explain(lost, doing="finetune@gift-birds"))), doing="gift finetune") is None
    for error in (ValueError("out of memory"), RuntimeError("mat1 and mat2 shapes"), KeyError("x")):
        assert explain(error, doing="finetune@gift-letters") is None


def behind_another_error() -> None:
    try:
        torch.empty(10**15)
    except RuntimeError as error:
        raise UserError("model.name: open_clip cannot load it. Check the name.") from error


CUDA = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB."
MPS = "MPS backend out of memory (max allowed: 18.13 GiB). Tried to allocate 256.00 MiB on private pool. Use PYTORCH"
CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
# What is allocated, and what is shown of the error.
SHORTAGES: dict[str, tuple[Callable[[], object], str]] = {
    "on the CPU": (lambda: torch.empty(10**15), "4000000000000000 bytes"),
    "in numpy": (lambda: np.empty(10**15), "7.11 PiB"),
    "in Python": (Mock(side_effect=MemoryError()), ""),
    "on CUDA": (Mock(side_effect=torch.OutOfMemoryError(CUDA)), "(CUDA out of memory. Tried to allocate 20.00 GiB)"),
    "on MPS": (Mock(side_effect=RuntimeError(MPS)), "Tried to allocate 256.00 MiB on private pool)"),
    "in a library": (Mock(side_effect=RuntimeError(CUBLAS)), "ALLOC_FAILED"),
    "behind another error": (behind_another_error, "4000000000000000 bytes"),
}


@pytest.mark.parametrize("name", SHORTAGES)
def test_the_errors_of_all_allocators_are_recognized_and_their_words_shown(name: str) -> None:
    allocate, words = SHORTAGES[name]
    message = explained(allocate)
    assert message.startswith("finetune@gift-letters: out of memory while writing (") and words in message
    assert "in this order: training.micro_batch_size: 16" in message and message.endswith("See docs/memory.md.")


def test_the_settings_that_need_less_memory_are_keys_of_params_yaml() -> None:
    config = load_config(ROOT / "params.yaml")
    for text in filter(None, (facts.less_memory for facts in STAGES.values())):
        for key in (part.split()[0].rstrip(":") for part in text.split("; ")):
            section, _, name = key.partition(".")
            assert name in type(getattr(config, section)).model_fields, key


def test_the_command_ends_with_the_phase_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real stage, with an allocation by torch that fails while the model is built."""
    monkeypatch.setattr("gift_core.clip.architectures.CLIP", lambda **options: torch.empty(10**15))
    result = CliRunner().invoke(app, ["import_model", "--params", str(ROOT / "params.yaml"), "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "error: import_model: out of memory while loading the model (" in result.output
    assert "Traceback" not in result.output
