"""The BPE tokenizer of transformers that is built from open_clip's vocabulary file, against open_clip's own."""

from __future__ import annotations

from functools import cache

import open_clip
import pytest
from open_clip.tokenizer import basic_clean
from transformers import CLIPTokenizer

from gift_core.interop.exporting import clip_tokenizer

ODD_TEXTS = [
    "", " ", "a", "A PHOTO of A Dog!!", "it's we'll they'd I'M", "O'Brien's 'quoted'", "naïve café", "e\u0301",
    "日本語 テキスト", "한국어", "العربية", "🐶🐱 👩‍👩‍👧", "1234567890 3.14",
    "tab\tnew\nline  two", "a\u00a0b", "\u200bzero", "under_score-hyphen/slash", "Ⅷ ½ ²", "ß İstanbul",
    "x" * 300, "dog " * 100, "#@$%^*(){}[]|\\~`",
]  # fmt: skip
MENDED_TEXTS = ["don’t “quote”", "&amp; &lt;b&gt;", "ﬁne", "（全角）", "cafÃ©", "\x00nul"]


@cache
def tokenizer() -> CLIPTokenizer:
    return clip_tokenizer()


@cache
def original() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def original_ids(text: str) -> list[int]:
    """open_clip's ids up to the end token; zeros follow there."""
    row: list[int] = original()([text])[0].tolist()
    return row[: row.index(original().eot_token_id) + 1]


def ids(text: str) -> list[int]:
    return list(tokenizer()(text, truncation=True, max_length=77).input_ids)


def test_every_imagenet_prompt_has_the_ids_of_open_clip() -> None:
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES[::16]
    prompts = [template(name) for template in templates for name in open_clip.IMAGENET_CLASSNAMES]
    assert len(prompts) == 5000
    assert [prompt for prompt in prompts if ids(prompt) != original_ids(prompt)] == []


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_have_the_ids_of_open_clip(text: str) -> None:
    assert ids(text) == original_ids(text)


@pytest.mark.parametrize("text", MENDED_TEXTS)
def test_the_one_difference_is_that_open_clip_mends_texts_first(text: str) -> None:
    assert ids(text) != original_ids(text)
    assert ids(basic_clean(text)) == original_ids(text)
