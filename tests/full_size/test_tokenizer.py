"""The BPE tokenizer of transformers that is built from open_clip's vocabulary file, against open_clip's own."""

from __future__ import annotations

import open_clip
from open_clip.tokenizer import basic_clean

from gift_core.interop.exporting import clip_tokenizer

ODD_TEXTS = [
    "", " ", "a", "A PHOTO of A Dog!!", "it's we'll they'd I'M", "O'Brien's 'quoted'", "naïve café", "e\u0301",
    "日本語 テキスト", "한국어", "العربية", "🐶🐱 👩‍👩‍👧", "1234567890 3.14",
    "tab\tnew\nline  two", "a\u00a0b", "\u200bzero", "under_score-hyphen/slash", "Ⅷ ½ ²", "ß İstanbul",
    "x" * 300, "dog " * 100, "#@$%^*(){}[]|\\~`",
]  # fmt: skip
MENDED_TEXTS = ["don’t “quote”", "&amp; &lt;b&gt;", "ﬁne", "（全角）", "cafÃ©", "\x00nul"]


def test_prompts_and_odd_texts_have_the_ids_of_open_clip_which_mends_some_texts_first() -> None:
    tokenizer, original = clip_tokenizer(), open_clip.SimpleTokenizer()

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, truncation=True, max_length=77).input_ids)

    def original_ids(text: str) -> list[int]:
        """Up to the end token. Zeros follow there."""
        row: list[int] = original([text])[0].tolist()
        return row[: row.index(original.eot_token_id) + 1]

    templates = open_clip.OPENAI_IMAGENET_TEMPLATES[::16]
    prompts = [template(name) for template in templates for name in open_clip.IMAGENET_CLASSNAMES]
    assert len(prompts) == 5000
    assert [text for text in (*prompts, *ODD_TEXTS) if ids(text) != original_ids(text)] == []
    assert [text for text in MENDED_TEXTS if ids(text) == original_ids(text)] == []
    assert [text for text in MENDED_TEXTS if ids(basic_clean(text)) != original_ids(text)] == []
