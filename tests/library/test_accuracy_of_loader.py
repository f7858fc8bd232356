"""The accuracy of the caller's model on a loader."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

import gift_core
from gift_core.errors import UserError
from tests.clip.tiny import TOKENIZER
from tests.library.given import CLASS_PROMPTS, given_loader, given_model, images

IMAGES = torch.stack(images(9))
TEMPLATES = [[prompt, f"a drawing, {prompt}"] for prompt in CLASS_PROMPTS]
ZERO_ONE = (IMAGES - IMAGES.min()) / (IMAGES.max() - IMAGES.min())


@torch.no_grad()
def nearest(model: Any, prompts: list[list[str]]) -> torch.Tensor:
    """The classes of IMAGES by open_clip alone."""
    means = [model.encode_text(TOKENIZER(texts), normalize=True).mean(dim=0) for texts in prompts]
    class_KD = functional.normalize(torch.stack(means), dim=-1)
    nearest_N: torch.Tensor = (model.encode_image(IMAGES, normalize=True) @ class_KD.T).argmax(dim=1)
    return nearest_N


@pytest.mark.parametrize("prompts", [CLASS_PROMPTS, TEMPLATES], ids=["one prompt", "two templates"])
def test_the_accuracy_is_the_fraction_of_images_whose_nearest_class_is_their_own(prompts: list[Any]) -> None:
    model = given_model(seed=4)
    predicted = nearest(model, [[each] if isinstance(each, str) else each for each in prompts])
    labels = torch.where(torch.arange(9) < 6, predicted, (predicted + 1) % 3)  # the last three are wrong
    batches = [(IMAGES[:4], labels[:4]), (IMAGES[4:], labels[4:])]
    found = gift_core.accuracy(model, TOKENIZER, batches, prompts)
    assert (found.correct, found.images, found.accuracy) == (6, 9, 6 / 9)


def test_the_recall_is_that_of_open_clips_features_with_several_captions_for_an_image() -> None:
    model, counts = given_model(seed=4), [1, 2, 1, 3, 1, 1, 2, 1, 1]
    captions = [[f"a {number} {each}." for each in range(count)] for number, count in enumerate(counts)]
    with torch.no_grad():
        text_CD = model.encode_text(TOKENIZER([text for texts in captions for text in texts]), normalize=True)
        cosines_NC = model.encode_image(IMAGES, normalize=True) @ text_CD.T
    owners = [number for number, count in enumerate(counts) for _ in range(count)]
    of_images = sum(owners[int(best)] == number for number, best in enumerate(cosines_NC.argmax(dim=1))) / 9
    of_captions = sum(int(best) == owner for owner, best in zip(owners, cosines_NC.argmax(dim=0), strict=True)) / 13
    found = gift_core.recall(model, TOKENIZER, [(IMAGES[:4], captions[:4]), (IMAGES[4:], captions[4:])])
    assert (found.images, found.captions) == (9, 13) and 0 < of_images + of_captions < 2
    assert (found.of_images, found.of_captions) == pytest.approx((of_images, of_captions))
    assert found.recall == pytest.approx((of_images + of_captions) / 2)
    for batch, message in (
        ((IMAGES, ["a"]), r"loader: captions: a list, expected 9 texts or lists"),
        ((IMAGES, torch.arange(9)), r"loader: captions: \[9\] torch.int64, expected 9 texts"),
        ((IMAGES[:1], ["a"]), r"loader: one image has nothing to be compared with"),
        ((ZERO_ONE, list("abcdefghi")), r"loader: pixels are from 0.00 to 1.00"),
    ):
        with pytest.raises(UserError, match=message):
            gift_core.recall(model, TOKENIZER, [batch])


def test_measuring_changes_nothing_of_the_model() -> None:
    model = given_model(tower="resnet").train()
    model.visual.eval()
    modes, state = [module.training for module in model.modules()], {**model.state_dict()}
    before = {name: value.clone() for name, value in state.items()}
    side = model.visual.image_size
    batch = torch.randn(4, 3, *([side] * 2 if isinstance(side, int) else side)), torch.tensor([0, 1, 2, 0])
    with torch.inference_mode():
        found = gift_core.accuracy(model, TOKENIZER, [batch], CLASS_PROMPTS, device="cpu")
    assert found.images == 4 and [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.requires_grad for value in model.parameters())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a batch that is a dictionary": ({"loader": [{"image": IMAGES}]}, r"loader: it yields a dict, expected \(images"),
    "a label too large": ({"prompts": CLASS_PROMPTS[:2]}, r"loader: labels from 0 to 2 in batch 0, and there are"),
    "raw pixels": ({"loader": [(ZERO_ONE, torch.zeros(9))]}, r"loader: pixels are from 0.00 to 1.00, as in no"),
    "no images": ({"loader": []}, r"loader: it yields no images. Pass a DataLoader of a data set that has some"),
    "no loader": ({"loader": None}, r"loader: None, expected a loader of \(images, labels\). Pass a DataLoader"),
    "a text": ({"prompts": "a cat."}, r"prompts: 'a cat.', expected two texts or more, one a class"),
    "classes without prompts": ({"prompts": [None] * 3}, r"prompts: \(None, None, None\), expected two texts or more"),
    "the same tokens": ({"prompts": ["a {}."] * 3}, r"prompts: 'a {}.' and 'a {}.' have the same tokens, so classes 0"),
    "a missing template": ({"prompts": [["a", "b"], ["c"]]}, r"prompts\[1\]: 1 texts, and prompts\[0\] has 2. Write"),
    "no model": ({"model": None}, r"model: a NoneType is no model of open_clip"),
    "another tokenizer": ({"tokenizer": lambda texts: TOKENIZER(texts) + 9}, r"tokenizer: it is of another model: tok"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_as_in_training(name: str) -> None:
    options, message = REFUSED[name]
    given = {"model": given_model(), "tokenizer": TOKENIZER, "loader": given_loader(), "prompts": CLASS_PROMPTS}
    with pytest.raises(UserError, match=f"^gift_core: {message}"):
        gift_core.accuracy(**given | options)
