"""Random token rows, for open_clip's tokenizer and for one of another vocabulary."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch
from open_clip.model import CustomTextCLIP

from gift_core.clip.encoding import SHORTEST_ROWS, encode_tokens
from gift_core.clip.model import Clip, load_folder
from gift_core.errors import UserError
from gift_core.replay.unpaired import random_token_rows
from tests.clip.tiny import CONTEXT, tiny_clip, tiny_config

START, END, PADDING = 49406, 49407, 0  # of open_clip's own tokenizer


@pytest.fixture(scope="module")
def mini() -> Clip:
    """Context 20, vocabulary 1,638; its tokenizer pads with the end token, 1637."""
    folder = Path(__file__).resolve().parents[2] / "data" / "mini" / "clip"
    return load_folder(folder, device=torch.device("cpu"), precision="fp32")


def with_text_tower(**changes: object) -> Clip:
    config = tiny_config()["model_cfg"]
    config["text_cfg"] |= changes
    return dataclasses.replace(tiny_clip(), model=CustomTextCLIP(**config).eval())


def with_vocabulary(size: int) -> Clip:
    """A tokenizer that knows only the empty text: start `size` - 2, end `size` - 1, padding 0."""
    config = tiny_config()["model_cfg"]
    config["text_cfg"] |= {"vocab_size": size}
    empty_1L = torch.tensor([[size - 2, size - 1] + [0] * (CONTEXT - 2)])
    return dataclasses.replace(tiny_clip(), model=CustomTextCLIP(**config).eval(), tokenizer=lambda texts: empty_1L)


def test_a_row_is_a_start_the_random_tokens_an_end_and_padding() -> None:
    rows_PL = random_token_rows(tiny_clip(), 50, 10, ("test",))
    assert rows_PL.dtype == torch.int64
    assert rows_PL.shape == (50, SHORTEST_ROWS)
    assert (rows_PL[:, 0] == START).all()
    assert ((rows_PL[:, 1:11] > PADDING) & (rows_PL[:, 1:11] < START)).all()
    assert (rows_PL[:, 11] == END).all()
    assert (rows_PL[:, 12:] == PADDING).all()


def test_start_end_and_padding_are_those_of_the_models_own_tokenizer(mini: Clip) -> None:
    rows_PL = random_token_rows(mini, 1000, 10, ("test",))
    assert rows_PL.shape == (1000, SHORTEST_ROWS)
    assert (rows_PL[:, 0] == 1636).all()
    assert (rows_PL[:, 1:11] < 1636).all()
    assert (rows_PL[:, 11:] == 1637).all()


def test_rows_are_as_long_as_their_tokens_need(mini: Clip) -> None:
    assert random_token_rows(mini, 3, 18, ("test",)).shape == (3, 20)
    assert random_token_rows(tiny_clip(), 3, 17, ("test",)).shape == (3, 19)


def test_the_features_are_finite_unit_and_different(mini: Clip) -> None:
    for clip in (mini, tiny_clip(), with_text_tower()):
        with torch.no_grad():
            features_PD = encode_tokens(clip, random_token_rows(clip, 100, 10, ("test",)))
        torch.testing.assert_close(features_PD.norm(dim=1), torch.ones(100))
        assert len(torch.unique(features_PD, dim=0)) == 100


def test_all_ordinary_tokens_are_drawn_equally_often() -> None:
    rows_PL = random_token_rows(with_vocabulary(13), 2000, 10, ("test",))
    counts = Counter(rows_PL[:, 1:11].flatten().tolist())
    assert sorted(counts) == list(range(1, 11))
    assert all(1800 < count < 2200 for count in counts.values())  # 2,000 expected, standard deviation 42


def test_rows_are_different_even_where_that_takes_all_there_are() -> None:
    rows_PL = random_token_rows(with_vocabulary(8), 25, 2, ("test",))
    assert sorted(rows_PL[:, 1:3].tolist()) == [[first, second] for first in range(1, 6) for second in range(1, 6)]


def test_the_rows_depend_on_their_name_alone() -> None:
    first, again, other = (random_token_rows(tiny_clip(), 9, 10, (42, name)) for name in ("birds", "birds", "digits"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_too_long_rows_are_refused_with_the_longest_possible(mini: Clip) -> None:
    expected = r"19 tokens with start and end need 21 places, the text tower has 20\. Ask for 18 at most"
    with pytest.raises(UserError, match=expected):
        random_token_rows(mini, 5, 19, ("test",))


def test_more_rows_than_there_are_are_refused() -> None:
    with pytest.raises(UserError, match="26 different rows are asked for, of 5 tokens there are 25 rows of 2"):
        random_token_rows(with_vocabulary(8), 26, 2, ("test",))


@pytest.mark.parametrize("changes", [{"no_causal_mask": True}, {"pool_type": "last"}, {"embed_cls": True}])
def test_a_text_tower_that_reads_more_than_the_end_token_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match="replay.texts: random_tokens needs a text tower that .* Choose texts of kind"):
        random_token_rows(with_text_tower(**changes), 5, 10, ("test",))


def test_an_end_token_that_the_tower_looks_for_by_its_number_is_found() -> None:
    rows_PL = random_token_rows(with_text_tower(pool_type="eos", eos_id=END), 5, 10, ("test",))
    assert (rows_PL[:, 11] == END).all()


def test_an_end_token_that_the_tower_does_not_look_for_is_refused() -> None:
    with pytest.raises(UserError, match="reads its feature at the end token"):
        random_token_rows(with_text_tower(pool_type="eos", eos_id=5), 5, 10, ("test",))
