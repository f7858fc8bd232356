"""The BPE tokenizer of transformers that is built from open_clip's vocabulary file, against open_clip's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import open_clip
import pytest
from open_clip.tokenizer import basic_clean
from transformers import AutoTokenizer, CLIPTokenizer

from benchmarks.smoke.tokenizer import save_tokenizer
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


def test_texts_are_padded_with_the_end_token_to_the_context() -> None:
    row = tokenizer()("a dog", padding="max_length").input_ids
    assert row[:4] == [49406, 320, 1929, 49407]
    assert len(row) == 77 and set(row[4:]) == {49407}
    assert tokenizer().convert_ids_to_tokens([49406, 49407]) == ["<|startoftext|>", "<|endoftext|>"]


def test_both_kinds_of_saved_files_give_the_same_tokenizer(tmp_path: Path) -> None:
    save_tokenizer(tokenizer(), tmp_path)
    whole = AutoTokenizer.from_pretrained(str(tmp_path))
    older = CLIPTokenizer(vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt"))
    for text in ODD_TEXTS:
        assert whole(text).input_ids == older(text).input_ids == tokenizer()(text).input_ids
    assert whole.model_max_length == 77 and len(older) == 49408
