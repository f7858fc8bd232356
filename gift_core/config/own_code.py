"""Losses and consolidations of the user's own: a function or a class in a Python file of the project.

What params.yaml says of them is compared with the file's text. The file does not run here, and torch is not loaded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import create_model

from gift_core.config.experiment import Config
from gift_core.config.loading import parse_part
from gift_core.config.method_options import MethodConfig, OwnConsolidationOptions, OwnLossOptions
from gift_core.config.section import CODE_FILE, Section
from gift_core.errors import UserError, did_you_mean, nearest, no_such_path
from gift_core.layout import shipped_root
from gift_core.untrusted import read_limited

# What a loss can take of a batch of replay, by the names of its parameters (gift_core.method.pair_features).
OF_ALL_PAIRS = ("vocabulary_text_PD", "all_image_ND", "image_ids_M")  # where all replayed pairs are known
OF_STUDENT = ("student_image_MD", "student_text_MD", "scale")
FEATURES = (*OF_STUDENT, "teacher_image_MD", "teacher_text_MD", "prompt_ids_M", *OF_ALL_PAIRS)
# What a consolidation gets besides its options: the trained parameters, and the teacher's Fisher diagonals by name.
GIVEN = ("self", "parameters", "fisher")
TYPES: Mapping[str, Any] = {"float": float, "int": int, "str": str, "bool": bool}  # of options; others are not checked
MAX_CODE_BYTES = 1 << 20


@dataclass(frozen=True)
class OwnCode:
    """A loss or a consolidation that a method takes from a file of the project.

    `key`: where params.yaml says so. `name`: of the function or class. `options`: its keyword arguments.
    """

    key: str
    file: str
    name: str
    options: Mapping[str, Any]
    is_loss: bool

    @property
    def noun(self) -> str:
        return "function" if self.is_loss else "class"

    def definition(self, root: Path) -> Definition:
        """Returns what the text of the file has under this name. UserError if it has nothing of the kind."""
        path = root / self.file
        try:
            tree = ast.parse(read_limited(path, MAX_CODE_BYTES), self.file)
        except SyntaxError as error:
            raise UserError(f"{self.file}:{error.lineno}: {error.msg}. Correct the line.") from None
        except (OSError, ValueError) as error:
            problem = f"{self.file}: cannot be read ({error})." if path.is_file() else no_such_path(path, "file")
            remedy = f"Write the {self.noun} {self.name} there."
            raise UserError(f"params.yaml: {self.key}.file: {problem} {remedy}") from None
        kind = ast.FunctionDef if self.is_loss else ast.ClassDef
        found_nodes = {node.name: node for node in tree.body if isinstance(node, kind)}
        if self.name not in found_nodes:
            hint = did_you_mean(self.name, found_nodes)
            raise UserError(f"params.yaml: {self.key}: {self.file} has no {self.noun} {self.name!r}. {hint}")
        return Definition(f"{self.file}:{found_nodes[self.name].lineno}: {self.name}", found_nodes[self.name])


@dataclass(frozen=True)
class Definition:
    """A function or a class in the text of a file. `location` begins errors about it: "my_losses.py:12: relations"."""

    location: str
    node: ast.FunctionDef | ast.ClassDef

    @property
    def function(self) -> ast.FunctionDef | None:
        """What is called: the function, or `__init__` of the class. None where the class inherits it."""
        if isinstance(self.node, ast.FunctionDef):
            return self.node
        methods = (node for node in self.node.body if isinstance(node, ast.FunctionDef))
        return next((method for method in methods if method.name == "__init__"), None)

    def parameters(self) -> Iterator[tuple[ast.arg, ast.expr | None, bool]]:
        """Yields each parameter, its default, and whether it is one of keywords only. UserError for *args, **kwargs."""
        if self.function is None:
            return
        arguments = self.function.args
        if arguments.vararg or arguments.kwarg:
            raise UserError(f"{self.location}: takes * or **, so its options have no names. Name them.")
        # ast lists the defaults of the last parameters alone, and None for one of keywords only that has none
        by_position = [*arguments.posonlyargs, *arguments.args]
        missing = [None] * (len(by_position) - len(arguments.defaults))
        yield from ((*pair, False) for pair in zip(by_position, [*missing, *arguments.defaults], strict=True))
        yield from ((*pair, True) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))

    def options(self, given: tuple[str, ...]) -> dict[str, Any]:
        """Returns pydantic's fields of the options: all parameters but `given`, which come from the training.

        UserError for a parameter that is neither given nor an option.
        """
        fields = dict[str, Any]()
        for parameter, default, is_keyword in self.parameters():
            name = parameter.arg
            if name in given:
                continue
            if default is None and not is_keyword:
                problem = f"unknown parameter {name!r}. {nearest(name, given)}Known: {', '.join(given)}"
                raise UserError(f"{self.location}: {problem}. An option needs a default, or stands behind a *.")
            fields[name] = (_type_of(parameter.annotation, default), ... if default is None else None)
        return fields


def _type_of(annotation: ast.expr | None, default: ast.expr | None) -> Any:
    """The type of an option: a plain one that is written, or that of its default. Any for all others."""
    if annotation is not None:
        text = ast.unparse(annotation)
        kind = TYPES.get(text.removesuffix(" | None"), Any)
        return kind | None if text.endswith(" | None") else kind
    if isinstance(default, ast.Constant) and type(default.value) in TYPES.values():
        return type(default.value)
    return Any


def new_code(option: str, given: str, *, is_loss: bool) -> OwnCode:
    """Returns what "my_losses.py:relations" names, the value of the command line's `option`. UserError otherwise."""
    file, _, name = given.partition(":")
    if not re.fullmatch(CODE_FILE, file) or not name.isidentifier():
        problem = "should be a Python file of the project and a name in it, such as my_losses.py:relations"
        raise UserError(f"{option} {given}: {problem}.")
    return OwnCode(option, file, name, {}, is_loss)


def setting_of(code: OwnCode, *, is_example: bool) -> str:
    """Returns what `gift add-method --set` adds to a row for it. The weight is one to begin with."""
    if code.is_loss:
        return f"losses.{code.name}={{file: {code.file}, weight: 1.0}}"
    weight = ", weight: 0.1" if is_example else ""
    return f"consolidation={{kind: {code.name}, file: {code.file}{weight}}}"


def example_of(codes: Iterable[OwnCode]) -> str:
    """Returns the text of a new file: the example's loss or consolidation, or both, under the names of these."""
    text = (shipped_root() / "examples" / "my_losses.py").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    names = {code.is_loss: code.name for code in codes}
    for node in reversed(ast.parse(text).body):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        name = names.get(isinstance(node, ast.FunctionDef))
        if name is None:
            del lines[node.lineno - 1 : node.end_lineno]
        else:
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(node.name, name)
    return f"{''.join(lines).rstrip()}\n"


class _Options(Section):
    noun: ClassVar[str] = "option"


def own_code(key: str, method: MethodConfig) -> Iterator[OwnCode]:
    """Yields the losses and the consolidation of a row that are the user's own. `key` is that of the row."""
    for name, loss in method.losses.items():
        if isinstance(loss, OwnLossOptions):
            yield OwnCode(f"{key}.losses.{name}", loss.file, name, loss.keywords(), is_loss=True)
    chosen = method.consolidation
    if isinstance(chosen, OwnConsolidationOptions):
        yield OwnCode(f"{key}.consolidation", chosen.file, chosen.kind, chosen.keywords(), is_loss=False)


def files_of(config: Config, methods: Iterable[str]) -> list[str]:
    """Returns the files with own code that the rows of these methods name."""
    return [code.file for name in methods for code in own_code(f"methods.{name}", config.methods[name])]


def require_own_code(config: Config, root: Path) -> None:
    """Raises UserError if a method that runs names a file, a function, a class or options that do not fit.

    It lists everything that is wrong, one line each. `root` is that of the project, where the files are.
    """
    wrong = []
    for name in config.run.methods:
        for code in own_code(f"methods.{name}", config.methods[name]):
            try:
                _require_fitting(code, config.methods[name], root)
            except UserError as error:
                wrong.append(str(error))
    if wrong:
        raise UserError("\n".join(wrong))


def _require_fitting(code: OwnCode, method: MethodConfig, root: Path) -> None:
    definition = code.definition(root)
    names = {parameter.arg for parameter, _, _ in definition.parameters()}
    if definition.function is not None:
        fields = definition.options(FEATURES if code.is_loss else GIVEN)
        model = create_model(code.name, __base__=_Options, **fields)
        parse_part(model, dict(code.options), name="params.yaml", key=code.key)
    of_all = sorted(names & {*OF_ALL_PAIRS})
    if code.is_loss and of_all and not method.replay.pairs:
        problem = f"takes {of_all[0]}, which replay.images: {method.replay.images} does not have"
        raise UserError(f"{definition.location}: {problem}. Use synthetic or reference, or take another feature.")
    if "fisher" in names and not code.is_loss and getattr(method.replay, "fisher", None) is None:
        problem = "takes fisher, which is not estimated. Add to params.yaml, to replay of the method:"
        raise UserError(f"{definition.location}: {problem} fisher: {{estimator: per_sample, accumulate: false}}.")
