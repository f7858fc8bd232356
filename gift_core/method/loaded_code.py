"""Losses and consolidations of the user's own: loaded from their files, and tried on toy inputs before any work.

M replayed pairs, N replayed images in all, P texts of the vocabulary, D features.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional

from gift_core.artifacts.model_folder import ENTROPY, LOSS_FIELDS
from gift_core.config.method_options import MethodConfig
from gift_core.config.own_code import OwnCode, own_code
from gift_core.errors import GiftError, UserError
from gift_core.method.consolidation import Consolidation, Parameters
from gift_core.method.losses import NO_GRADIENT, Loss, value_fault
from gift_core.method.pair_features import taken_by

# Sizes of the toy inputs. All differ, so that a loss that mixes them up fails. TEXTS: without pairs.
IMAGES, TEXTS = 4, 3
ALL_IMAGES, VOCABULARY = 6, 5
FEATURES = 8
_LOADED = set[str]()  # names of modules that came from files of a project
OTHER_COLUMNS = {*LOSS_FIELDS, "consolidation", "skipped"}  # of a row of the log, which no loss may be named


def load(code: OwnCode, root: Path) -> Callable[..., Any]:
    """Runs the file below `root` once, and returns its function or class. UserError, with the line, for what it raises.

    The file can import other files of the project: the root is on Python's path from then on.
    """
    code.definition(root)
    name = code.file.removesuffix(".py").replace("/", ".")
    path = (root / code.file).resolve()
    module = sys.modules.get(name)
    if getattr(module, "__file__", None) != str(path):
        if module is not None and name not in _LOADED:
            raise UserError(f"{code.file}: another module has the name {name}. Rename the file, also in params.yaml.")
        module = _run(code, name, path, root)
    with errors_with_lines(code, root):
        return getattr(module, code.name)  # type: ignore[no-any-return]


def _run(code: OwnCode, name: str, path: Path, root: Path) -> ModuleType:
    """The module in the file, which Python then knows under the name."""
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "the file's name ends with .py"
    module = module_from_spec(spec)
    if str(root.resolve()) not in sys.path:
        sys.path.append(str(root.resolve()))
    _LOADED.add(name)
    sys.modules[name] = module
    with errors_with_lines(code, root):
        spec.loader.exec_module(module)
    return module


@contextmanager
def errors_with_lines(code: OwnCode, root: Path) -> Iterator[None]:
    """Within the block, what the user's code raises becomes a UserError with its line."""
    try:
        yield
    except GiftError:
        raise
    except Exception as error:
        path = str((root / code.file).resolve())
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        where = f"{code.file}:{lines[-1]}" if lines else code.file
        problem = str(error).rstrip(".")
        raise UserError(f"{where}: {code.name}: {type(error).__name__}: {problem}. Correct it there.") from error


def require_working(key: str, method: MethodConfig, root: Path) -> None:
    """Raises UserError if a loss or a consolidation of the user's own does not work on toy inputs.

    `key` is that of the method's row: methods.relations.
    """
    for code in own_code(key, method):
        called = load(code, root)
        location = code.definition(root).location
        if code.is_loss and (code.name.endswith(ENTROPY) or code.name in OTHER_COLUMNS):
            remedy = f"Choose another, without {ENTROPY} at its end"
            raise UserError(f"{location}: the log of losses has a column of this name. {remedy}.")
        with errors_with_lines(code, root):
            problem = _problem_of(code, called, has_pairs=method.replay.pairs)
        if problem is not None:
            raise UserError(f"{location}: {problem}")


def _problem_of(code: OwnCode, called: Callable[..., Any], *, has_pairs: bool) -> str | None:
    """What is wrong, and what to do. None: nothing."""
    if not code.is_loss:
        return _problem_of_consolidation(called, code.options)
    loss = partial(called, **code.options)
    later = _problem_of_loss(loss, toy_features(has_pairs=has_pairs, is_first=False))
    return later or _problem_of_loss(loss, toy_features(has_pairs=has_pairs, is_first=True))


def toy_features(*, has_pairs: bool, is_first: bool) -> dict[str, torch.Tensor]:
    """Returns a feature of each kind that a loss can take, small and random. Without pairs there are fewer texts.

    Those of the student have gradients. In the first iteration of a task they equal the teacher's.
    """
    random = torch.Generator().manual_seed(0)
    texts = IMAGES if has_pairs else TEXTS

    def unit_rows(count: int) -> torch.Tensor:
        return functional.normalize(torch.randn(count, FEATURES, generator=random), dim=1)

    teacher_image_MD, teacher_text_MD = unit_rows(IMAGES), unit_rows(texts)
    student_image_MD = teacher_image_MD.clone() if is_first else unit_rows(IMAGES)
    student_text_MD = teacher_text_MD.clone() if is_first else unit_rows(texts)
    features = {
        "student_image_MD": student_image_MD.requires_grad_(),
        "student_text_MD": student_text_MD.requires_grad_(),
        "teacher_image_MD": teacher_image_MD,
        "teacher_text_MD": teacher_text_MD,
        "prompt_ids_M": torch.tensor([0, 1, 1, 2])[:texts],
        "scale": torch.tensor(100.0),
    }
    of_all = {
        "vocabulary_text_PD": unit_rows(VOCABULARY),
        "all_image_ND": unit_rows(ALL_IMAGES),
        "image_ids_M": torch.arange(IMAGES),
    }
    return features | of_all if has_pairs else features


def _problem_of_loss(loss: Loss, toys: Mapping[str, torch.Tensor]) -> str | None:
    """What is wrong with the loss of these features, and what to do. None: nothing."""
    features = {name: toys[name] for name in taken_by(loss)}
    before = {name: value.detach().clone() for name, value in features.items()}
    students = [value for value in features.values() if value.requires_grad]
    if not students:
        return "it takes no feature of the student, so it trains nothing. Take student_image_MD or student_text_MD."
    value = loss(**features)
    fault = value_fault(value)
    if fault is not None:
        return fault
    for name, kept in before.items():
        if not torch.equal(kept, features[name]):
            return f"it changes {name}, which other losses read. Work on a copy: {name}.clone()"
    if not torch.isfinite(value):
        return f"it is {value.item()} where the student is still its teacher, or for other features of length 1."
    if not value.requires_grad:
        return NO_GRADIENT
    gradients = torch.autograd.grad(value, students, allow_unused=True)
    if any(gradient is not None and not gradient.isfinite().all() for gradient in gradients):
        return "its gradient is not finite. At first the student is its teacher: look for a square root of 0."
    return None


def _problem_of_consolidation(build: Callable[..., Consolidation], options: Mapping[str, Any]) -> str | None:
    """What is wrong with the consolidation, and what to do. None: nothing.

    Two iterations are observed, then a second one is made of the first one's state, as a resumed training does it.
    """
    random = torch.Generator().manual_seed(0)
    starts = {"weight": torch.randn(3, 2, generator=random), "bias": torch.randn(2, generator=random)}
    parameters = {name: torch.nn.Parameter(start.clone()) for name, start in starts.items()}
    given = dict(options)
    if takes_fisher(build):
        given["fisher"] = {name: torch.ones_like(start) for name, start in starts.items()}
    first, resumed = build(parameters, **given), build(parameters, **given)
    for _ in range(2):
        first.observe({"weight": torch.randn(3, 2, generator=random), "bias": None})
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.add_(0.1)
        penalty, gradients = _pulled(first, parameters)
        if not isinstance(penalty, torch.Tensor) or penalty.dim() != 0:
            return f"pull returns {penalty!r}, expected the weighted penalty as a tensor []."
        sums = [gradient.sum() for gradient in gradients]
        if not torch.isfinite(torch.stack([penalty.detach(), *sums])).all():
            return (
                "the penalty or its gradient is not finite after two iterations. A tensor may have no gradient (None)."
            )
    for value, kept in zip(resumed.state(), first.state(), strict=True):
        value.copy_(kept)
    again = _pulled(resumed, parameters)[0]
    if not torch.allclose(again, penalty):
        numbers = f"is {penalty.item():.6g}, and {again.item():.6g} where it was resumed"
        problem = f"after two iterations the penalty {numbers}"
        return f"{problem}. Return from state() every tensor that changes, itself and not a copy, also a count."
    return None


def _pulled(consolidation: Consolidation, parameters: Parameters) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The penalty, and the gradients that it adds to zeros."""
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    penalty = consolidation.pull(parameters)
    return penalty, [parameter.grad for parameter in parameters.values() if parameter.grad is not None]


def takes_fisher(build: Callable[..., Consolidation]) -> bool:
    """Whether a consolidation takes the teacher's Fisher diagonals, as the argument `fisher`."""
    return "fisher" in inspect.signature(build).parameters
