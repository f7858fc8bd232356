"""Unpaired replay: rows of random tokens. Of its batches: test_learning_methods.py, lwf and lwf_vr."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from open_clip.model import CustomTextCLIP

from gift_core.clip.encoding import SHORTEST_ROWS
from gift_core.clip.model import Clip
from gift_core.errors import UserError
from gift_core.method.replay.current_task import random_token_rows
from tests.clip.tiny import CONTEXT, tiny_clip, tiny_config

START, END, PADDING = 49406, 49407, 0  # of open_clip's own tokenizer


def with_vocabulary(size: int) -> Clip:
    """A tokenizer that knows only the empty text: start `size` - 2, end `size` - 1, padding 0."""
    config = tiny_config()["model_cfg"]
    config["text_cfg"] |= {"vocab_size": size}
    empty_1L = torch.tensor([[size - 2, size - 1] + [0] * (CONTEXT - 2)])
    return dataclasses.replace(tiny_clip(), model=CustomTextCLIP(**config).eval(), tokenizer=lambda texts: empty_1L)


def test_a_row_has_start_random_tokens_end_and_padding_of_the_models_tokenizer(mini: Clip) -> None:
    for clip, start, end, padding in ((tiny_clip(), START, END, PADDING), (mini, 1636, 1637, 1637)):
        rows_PL = random_token_rows(clip, 50, 10, ("test",))
        assert rows_PL.dtype == torch.int64 and rows_PL.shape == (50, SHORTEST_ROWS)
        assert (rows_PL[:, 0] == start).all() and (rows_PL[:, 11] == end).all() and (rows_PL[:, 12:] == padding).all()
        assert (rows_PL[:, 1:11] < start).all() and (rows_PL[:, 1:11] != padding).all()
    assert random_token_rows(mini, 3, 18, ("test",)).shape == (3, 20)


def test_rows_differ_even_where_all_possible_rows_are_needed_and_more_are_refused() -> None:
    rows_PL = random_token_rows(with_vocabulary(8), 25, 2, ("test",))
    assert sorted(rows_PL[:, 1:3].tolist()) == [[first, second] for first in range(1, 6) for second in range(1, 6)]
    with pytest.raises(UserError, match="count is 26, but only 25 different rows of 2 tokens exist"):
        random_token_rows(with_vocabulary(8), 26, 2, ("test",))


def test_random_rows_depend_on_their_name_only(mini: Clip) -> None:
    first, again, other = (random_token_rows(mini, 9, 10, (42, name)) for name in ("birds", "birds", "digits"))
    assert torch.equal(first, again) and not torch.equal(first, other)
