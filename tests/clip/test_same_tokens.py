"""Which texts are one text to a model: by its tokens, and by what is tokenized at all."""

from __future__ import annotations

import itertools

import open_clip
import pytest

from gift_core.clip.same_tokens import may_share_tokens, tokenizer_of
from gift_core.datasets.captions import base_vocabulary
from tests.clip.tiny import CONTEXT, tiny_clip

TOKENIZER = tokenizer_of(tiny_clip().tokenizer)
LONG = "a photo of a Bentley Continental Supersports Convertible with a soft top, " * 2
SAME = [
    ["a cat.", "A Cat.", "a  cat.", "dog"],
    ["Tom &amp; Jerry", "Tom & Jerry", "Tom, Jerry"],
    ["ﬁsh", "fish", "ﬁ sh"],
    [LONG + "2012", LONG + "2007", "2012 " + LONG],
    ["a " * CONTEXT, "a " * (CONTEXT - 2), "a " * (CONTEXT - 3)],
]


@pytest.mark.parametrize("texts", SAME, ids=lambda texts: texts[0][:8])
def test_texts_with_the_same_tokens_have_the_number_of_the_first(texts: list[str]) -> None:
    rows = TOKENIZER.rows(texts)
    assert TOKENIZER.first_of(list(zip(texts))) == [rows.index(row) for row in rows]
    assert TOKENIZER.first_of([(text, "the same") for text in texts]) == [rows.index(row) for row in rows]
    assert TOKENIZER.first_of([(text, f"but {n}") for n, text in enumerate(texts)]) == list(range(len(texts)))
    assert TOKENIZER.count_repeated([*texts, *texts]) == len(texts) - len(set(rows))


def test_no_text_with_the_tokens_of_another_one_is_left_out() -> None:
    words = ["a", "A", "&", "&amp;", "é", "e", "ﬁ", "fi", "I'm", "i m", "_", "-", "!", "7", "猫"]
    texts = [" ".join(each) for each in itertools.product(words, repeat=2)] + [LONG[:n] for n in range(len(LONG))]
    rows = TOKENIZER.rows(texts)
    shared = {number for number, row in enumerate(rows) if rows.count(row) > 1}
    assert shared and shared <= set(may_share_tokens(texts, TOKENIZER.context))


def test_the_names_of_imagenet_need_no_tokenizer_but_for_the_two_that_occur_twice() -> None:
    prompts = [f"a photo of a {name}." for name in base_vocabulary("imagenet")]
    found = [prompts[number] for number in may_share_tokens(prompts, 77)]
    assert found == ["a photo of a missile."] * 2 + ["a photo of a sunglasses."] * 2
    rows = open_clip.get_tokenizer("ViT-B-16")(prompts).unique(dim=0)
    assert len(rows) == len(prompts) - 2
