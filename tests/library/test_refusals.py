"""What users get wrong ends in one message that says what to do, before the model changes; and the public names."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CustomTextCLIP
from torch.utils.data import DataLoader

import gift_core
from gift_core.errors import UserError
from tests.clip.tiny import TOKENIZER, tiny_config
from tests.conftest import PROJECT
from tests.library.given import finetuned, given_model, images

IMAGES = torch.stack(images(4))
LABELS = torch.tensor([0, 1, 2, 0])
ZERO_ONE = (IMAGES - IMAGES.min()) / (IMAGES.max() - IMAGES.min())
PATHS = [("a.jpg", "a one."), ("b.jpg", "a two.")]
SWAPPED: Any = DataLoader([("a one.", IMAGES[0]), ("a two.", IMAGES[1])], batch_size=2)  # type: ignore[arg-type]
UNTOLD: Any = DataLoader([(image, 1.0) for image in IMAGES], batch_size=2)  # type: ignore[arg-type]
LOSSLESS = {"consolidation": {"kind": "adaptive_fisher", "weight": 1.0}}
RELEASE = {"release": {"kind": "interpolate", "alpha": 0.5}}
TAKEN = {"losses": {"consolidation": gift_core.WeightedLoss(1.0, gift_core.distill)}}
# One for each part of what is given, and what would train, or never end, if it were not refused.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "images that were not normalized": ({"loader": [(ZERO_ONE, LABELS)]}, r"pixels are from 0.00 to 1.00, as in no"),
    "a label too large": ({"loader": [(IMAGES, LABELS + 1)]}, r"labels from 1 to 3 .* there are prompts of 3 classes"),
    "labels in a list": ({"loader": [(IMAGES, [0, 1, 2, 0])]}, r"labels are a list, expected a tensor \[4\] with the"),
    "labels as vectors": ({"loader": [(IMAGES, torch.eye(4))]}, r"labels are \[4, 4\] torch.float32, .* or one_hot"),
    "a generator": ({"loader": ((IMAGES, LABELS) for _ in range(2))}, r"it yields no batch: .* or it is a generator"),
    "a single pair": ({"pairs": [(IMAGES[0], "a")]}, r"pairs: 1 given, and one pair has nothing to be compared with"),
    "pairs as the page prints them": ({"pairs": ...}, r"pairs: Ellipsis, expected a sequence of \(image, prompt\) or"),
    "the name of a folder": ({"pairs": "photos"}, r"pairs: 'photos', expected a sequence of \(image, prompt\) or a"),
    "images alone": ({"pairs": list(IMAGES)}, r"pairs\[0\]: it is \[3, 16, 16\] torch.float32, expected \(image, pro"),
    "swapped pairs": ({"pairs": [("a one.", IMAGES[0])] * 2}, r"pairs\[.\]: it is \(text, image\). Write \(image"),
    "a swapped loader": ({"pairs": SWAPPED}, r"pairs: it yields \(texts, images\). Write \(images, texts\).$"),
    "a loader of numbers": ({"pairs": UNTOLD}, r"pairs: prompts are \[2\] torch.float64, expected 2 texts, or token"),
    "a prompt that is none": ({"pairs": [(IMAGES[0], IMAGES[1])] * 2}, r"its prompt is \[3, 16, 16\] torch.float32"),
    "a path that leads nowhere": ({"pairs": PATHS}, r"pairs\[.\]: '[ab].jpg': No such file or directory. Write"),
    "an image as an array": ({"pairs": [(IMAGES[0].numpy(), "a one.")] * 2}, r"pairs\[.\]: images are a ndarray"),
    "images of two sizes": ({"pairs": [(torch.ones(3, 9, 9), "a one.")] * 2}, r"pairs\[.\]: images are \[1, 3, 9, 9\]"),
    "no batches": ({"loader": [(IMAGES[0], 1)]}, r"loader: images are \[3, 16, 16\] .* Make batches of them"),
    "no loader": ({"loader": 7}, r"loader: 7, expected a loader of \(images, labels\)"),
    "a mistyped keyword": (
        {"iteration": 2},
        r"finetune: unknown name 'iteration'. Did you mean 'iterations'\? Known: betas, device, .*, method, mic",
    ),
    "a loss that is a matrix": (
        {"method": {"losses": {"matrix": gift_core.WeightedLoss(1.0, lambda student_image_MD: student_image_MD)}}},
        r"losses.matrix: it returns a tensor \[4, 8\], expected one number. Return its mean: value.mean\(\)",
    ),
    "a loss without gradient": (
        {"method": {"losses": {"fixed": gift_core.WeightedLoss(1.0, lambda teacher_text_MD: teacher_text_MD.sum())}}},
        r"losses.fixed: its value has no gradient to the student's features. Take one, and leave out detach",
    ),
    "settings in a dictionary": (
        {"training": {"weight_decay": 0.1}},
        r"training: a dict, expected gift_core.Training. Pass its fields by name",
    ),
    "a method in a list": ({"method": ["gift"]}, r"method: a list, expected a name or a row. Write method=.gift"),
    "losses in a list": ({"method": {"losses": ["distill"]}}, r"method.losses: a list, expected a dictionary"),
    "a callback that is none": ({"on_step": "print"}, r"on_step: 'print', expected a function of a row. Try on_st"),
    "a file that is not there": (
        {"method": {"losses": {"mine": {"file": "nowhere.py", "weight": 1.0}}}},
        r"method.losses.mine.file: nowhere.py: no such file",
    ),
    "no pairs": ({"pairs": None}, r"pairs: missing, and the method replays them \(distill, align\)"),
    "an unknown method": ({"method": "gifd"}, r"method: unknown name 'gifd'. Did you mean 'gift"),
    "a consolidation without losses": ({"method": LOSSLESS}, r"adaptive_fisher: .* the gradients of the replay losses"),
    "a release": ({"method": RELEASE}, r"release: .*gift_core.released\(model"),
    "a method that learns nothing": ({"method": "zero_shot"}, r"method.learns: nothing: there is nothing to train"),
    "exemplars": ({"method": "icarl"}, r"method.replay.images: exemplars: the library replays the pairs"),
    "a loss of a taken name": ({"method": TAKEN}, r"a loss needs a name like my_loss, without _entropy"),
    "the first teacher": ({"method": "zscl", "iterations": 101}, r"teacher: .*replay.teacher: initial.*Pass it"),
    "a rate that is a truth value": ({"learning_rate": True}, r"learning_rate is True, expected 1e-09 to 10"),
    "a setting out of range": ({"replay_batch_size": 0}, r"training.replay_batch_size: .* equal to 2, it is 0"),
    "a long warm-up": ({"training": gift_core.Training(9)}, r"9 should be less than the number of iterations \(3\)"),
    "a teacher of another image size": (
        {"teacher": given_model(tower="resnet")},
        r"teacher: its images are prepared in another way than the model's \({'size': 32",
    ),
    "a loader as the tokenizer": ({"tokenizer": [1]}, r"tokenizer: a list cannot be called. Pass the tokenizer"),
    "a tokenizer of another model": (
        {"tokenizer": lambda texts: TOKENIZER(texts) + 9},
        r"tokenizer: it is of another model: token 49416, but the model's vocabulary is 0 to 49407. Pass the tok",
    ),
    "a single class": ({"class_prompts": ["a."]}, r"class_prompts: \['a.'\], expected two texts or more, one a class"),
    "prompts that differ after the context": (
        {"class_prompts": ["a.", "b " * 99 + "c", "b " * 99 + "d"]},
        r"have the same tokens, so classes 1 and 2 are the same to the model. Reword or shorten one of them",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_before_the_model_changes(name: str) -> None:
    options, message = REFUSED[name]
    model = given_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=message) as refused:
        finetuned(model, **options)
    assert str(refused.value).startswith(("gift_core: ", "losses.")) and "\n" not in str(refused.value)
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == [] or name == "a generator"
    assert all(value.requires_grad for value in model.parameters())


@pytest.mark.parametrize(
    ("precision", "remedy"), [("fp32", ""), ("amp_bf16", ", or use precision fp32 instead of amp_bf16")]
)
def test_a_loss_that_is_not_a_number_names_what_the_caller_can_change(precision: str, remedy: str) -> None:
    broken = {"losses": {"broken": gift_core.WeightedLoss(torch.nan, gift_core.distill)}}
    with pytest.raises(UserError) as stopped:
        finetuned(method=broken, precision=precision, learning_rate=2e-4, warmup_iterations=0)
    assert str(stopped.value) == (
        "training stopped at iteration 0: broken became nan. Last good values: none. "
        f"Lower the learning rate (0.0002 at this iteration){remedy}."
    )


def test_a_model_that_cannot_be_trained_is_refused() -> None:
    model, broken = given_model(), given_model()
    broken.text_projection.data[0, 0] = torch.nan
    refused: dict[str, Any] = {
        r"model: its weights should be float32, .* is torch.float16": given_model().half(),
        r"a DataParallel is no model of open_clip: ": torch.nn.DataParallel(given_model()),
        r"trains: none of these parameters requires gradients": given_model().requires_grad_(False),
        r"gift_core: model: 1 of the .* numbers of .* are NaN": broken,
    }
    for message, wrong in refused.items():
        with pytest.raises(UserError, match=message):
            finetuned(wrong)
    with pytest.raises(UserError, match=r"teacher: it is the model itself, which training changes"):
        finetuned(model, teacher=model)


def test_a_model_without_preprocessing_is_refused_with_the_line_that_sets_it() -> None:
    model = CustomTextCLIP(**tiny_config()["model_cfg"]).eval()
    message = "model: this CustomTextCLIP does not know the mean and std of its images"
    with pytest.raises(UserError, match=message) as it:
        finetuned(model)
    exec(str(it.value).partition("Set them: ")[2], {"open_clip": open_clip, "model": model})
    assert len(finetuned(model)) == 3


def test_the_import_loads_nothing_and_the_names_are_loaded_when_they_are_used() -> None:
    check = (
        "import sys, gift_core\n"
        "print([name for name in ('torch', 'open_clip', 'pydantic', 'yaml', 'numpy') if name in sys.modules])\n"
        "gift_core.UserError\n"
        "print('torch' in sys.modules)\n"
        "gift_core.distill\n"
        "print('torch' in sys.modules, 'diffusers' in sys.modules)\n"
    )
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert printed.stdout.splitlines() == ["[]", "False", "True False"]


@pytest.mark.parametrize("name", gift_core.__all__)
def test_a_public_name_is_found_and_documented(name: str) -> None:
    found = getattr(gift_core, name)
    assert len(inspect.getdoc(found) or "") > 30
    assert name in dir(gift_core)
    assert f"`{name}`" in (PROJECT / "docs" / "library.md").read_text(encoding="utf-8")
