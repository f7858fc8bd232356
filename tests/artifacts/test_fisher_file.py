"""The diagonal Fisher information as a file: contract, bytes, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gift_core.artifacts.fisher_file import Fisher, read_fisher, write_fisher
from gift_core.errors import ContractError
from tests.artifacts.damage import broken_message

DIAGONALS = {
    "visual.weight": np.array([[0.0, 1.5], [2.0, 0.25]], dtype=np.float32),
    "text.bias": np.array([3.0], dtype=np.float32),
}
FISHER = Fisher(DIAGONALS, estimator="per_sample", model="ab" * 32)


def test_what_is_written_is_read_with_names_shapes_and_estimator(tmp_path: Path) -> None:
    write_fisher(tmp_path / "fisher.safetensors", FISHER)
    write_fisher(tmp_path / "b", Fisher(dict(reversed(DIAGONALS.items())), FISHER.estimator, FISHER.model))
    assert (tmp_path / "fisher.safetensors").read_bytes() == (tmp_path / "b").read_bytes()
    found = read_fisher(tmp_path / "fisher.safetensors")
    assert (found.estimator, found.model) == ("per_sample", "ab" * 32)
    assert list(found.diagonals) == ["text.bias", "visual.weight"]
    for name, values in DIAGONALS.items():
        np.testing.assert_array_equal(found.diagonals[name], values)
    assert set(load_file(tmp_path / "fisher.safetensors")) == set(DIAGONALS)  # plain safetensors for anyone


@pytest.mark.parametrize("values", [np.array([-1.0], dtype=np.float32), np.array([1.0], dtype=np.float64)])
def test_unsound_diagonals_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "fisher.safetensors"
    write_fisher(path, Fisher({"text.bias": values}, "per_sample", "ab"))
    assert "text.bias should hold finite float32 numbers >= 0" in broken_message(
        lambda: read_fisher(path), path, "teach"
    )


def test_a_missing_cut_or_unlabeled_file_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "fisher.safetensors"
    with pytest.raises(ContractError, match=r"the file is missing\. Recreate it with: dvc repro teach"):
        read_fisher(path)
    save_file(DIAGONALS, path)
    with pytest.raises(ContractError, match="estimator and a model in its metadata"):
        read_fisher(path)
    write_fisher(path, FISHER)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ContractError, match="estimator and a model in its metadata"):
        read_fisher(path)
