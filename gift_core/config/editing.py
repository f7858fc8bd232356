"""Edits the text of params.yaml with ruamel.yaml's round trip: comments, quotes and order stay."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gift_core.config.checks import START
from gift_core.errors import UserError, lookup
from gift_core.quantities import plural
from gift_core.untrusted import parse_yaml

if TYPE_CHECKING:
    from ruamel.yaml import YAML

COMMENT_COLUMN = 29
MOST_ABOUT = 80  # characters of a comment that lists the changes of a copied row
ABOVE, INSIDE = 1, 3  # where ruamel.yaml has the comments above an entry, and those above what is inside it


@dataclass(frozen=True)
class Document:
    """A params file that can be edited: `content` has its sections, `end` is the comment below all of them.

    It is written with the indentation and the line ends that DVC writes.
    """

    content: Any
    end: str
    editor: YAML

    @classmethod
    def parse(cls, text: str, name: str = "params.yaml") -> Document:
        """Returns the document in the text of the file `name`. UserError if it is not YAML with sections."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        editor = YAML()
        editor.width = 4096  # never break a line
        editor.preserve_quotes = True
        try:
            content = editor.load(text.replace("\r\n", "\n"))
        except (YAMLError, RecursionError) as error:  # also for a tab, which the faster reader accepts
            mark = getattr(error, "problem_mark", None)
            problem = f"line {mark.line + 1}: {getattr(error, 'problem', None)}" if mark else str(error)
            raise UserError(f"{name}: is not valid YAML ({problem}). Correct it, and indent with spaces.") from None
        if not is_block(content) or not isinstance(content, dict):
            raise UserError(f"{name}: should contain sections. Compare it with presets/mini.yaml.")
        return cls(content, _move_comments_down(content), editor)

    def text(self) -> str:
        """Returns the text of the file."""
        buffer = io.StringIO()
        self.editor.dump(self.content, buffer)
        return buffer.getvalue() + self.end


def _move_comments_down(content: Any) -> str:
    """Gives each comment on lines of its own to the entry below it. ruamel.yaml gives it to the one above.

    So a new entry stands before the comment of the section that follows, and a removed one does not take it along.
    Returns the comment below the last entry.
    """
    below = ""
    for section, key in _entries(content):
        add_above(section, key, below)
        comments = section.ca.items.get(key)
        behind = 2 if isinstance(section, dict) else 0  # where ruamel.yaml has the comment on the line of an entry
        below = ""
        if comments and comments[behind]:
            end_of_line, _, below = comments[behind].value.partition("\n")
            comments[behind].value = f"{end_of_line}\n"
            if not end_of_line:
                comments[behind] = None
        if comments and len(comments) > INSIDE and comments[INSIDE]:  # between a key and its first entry
            below += "".join(" " * comment.column + comment.value for comment in comments[INSIDE])
            comments[INSIDE] = None
    return below


def _entries(section: Any, seen: set[int] | None = None) -> Iterator[tuple[Any, Any]]:
    """Yields (section or list, key or index) of all entries on lines of their own, in the order of the text.

    Those that `<<: *another` stands for are left out.
    """
    seen = set() if seen is None else seen
    if isinstance(section, list):
        keys: list[Any] = [*range(len(section))]
    else:
        keys = [key for key, _ in section.non_merged_items()]
    for key in keys:
        yield section, key
        if is_block(section[key]) and id(section[key]) not in seen:  # an alias stands for the same section
            seen.add(id(section[key]))
            yield from _entries(section[key], seen)


def is_block(value: Any) -> bool:
    """Whether the value is a section or a list on several lines."""
    return hasattr(value, "fa") and not value.fa.flow_style() and isinstance(value, dict | list)


def comment_of(text: str) -> Any:
    """Returns ruamel.yaml's token for comments on lines of their own. `text` has their indentation and line ends."""
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    return CommentToken(text, CommentMark(0), None)


def add_above(section: Any, key: Any, text: str) -> None:
    """Puts comments (see comment_of) above an entry, and above those that it has."""
    text += take_above(section, key)
    if text:
        section.ca.items.setdefault(key, [None] * 4)[ABOVE] = [comment_of(text)]


def take_above(section: Any, key: Any) -> str:
    """Removes the comments above an entry and returns their text, empty if there are none."""
    comments = section.ca.items.get(key) or [None] * 4
    text = ""
    for comment in comments[ABOVE] or []:
        if not comment.value.startswith("\n"):  # an empty line has no indentation
            text += " " * comment.column
        text += comment.value
    comments[ABOVE] = None
    return text


def _remove(content: Any, outer: Any, name: str, key: Any) -> None:
    """Removes an entry of the section or list outer[name]; an emptied one is {} or [].

    What stands above the entry stays, above the next one of the whole content.
    """
    section = outer[name]
    above = take_above(section, key)
    if above:
        entries = list(_entries(content))
        position = next(index for index, entry in enumerate(entries) if entry[0] is section and entry[1] == key)
        inner = len(list(_entries(section[key]))) if is_block(section[key]) else 0
        following = position + inner + 1
        if following < len(entries):
            add_above(*entries[following], above)
    section.ca.items.pop(key, None)
    del section[key]
    if not section:
        _replace(outer, name, on_one_line([] if isinstance(section, list) else {}))


def _remove_comments(section: Any, key: Any) -> None:
    """Removes the comments above, beside and inside an entry."""
    section.ca.items.pop(key, None)
    value = section[key]
    if hasattr(value, "ca"):
        value.ca.comment = None  # on the line of the key
        for inner in range(len(value)) if isinstance(value, list) else value:
            _remove_comments(value, inner)


def _replace(section: Any, key: Any, value: Any) -> None:
    """Sets a list or a section. ruamel.yaml has a comment on the line of the key in two places."""
    section[key] = value
    comments = section.ca.items.get(key)
    if comments:
        section.ca.items[key] = [*comments[:INSIDE], None]
        value.ca.comment = [comments[2], None]


def _on_lines(content: Any, key: str) -> Any:
    """The section or list of one of these keys, one entry a line: an empty one is made for {}, [] and null."""
    if not content[key]:
        _replace(content, key, on_one_line([] if key in ("sequence", "probes") else {}))
    content[key].fa.set_block_style()
    return content[key]


def on_one_line(value: Any) -> Any:
    """Returns a plain value as ruamel.yaml writes it on one line, a section or a list in brackets."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if not isinstance(value, Mapping | list | tuple):
        return value
    result: Any = CommentedMap(value) if isinstance(value, Mapping) else CommentedSeq(value)
    result.fa.set_flow_style()
    return result


def append_task(text: str, name: str, row: Mapping[str, Any], *, learning_rate_factor: float | None) -> str:
    """Returns a params file's text with `row` added to its tasks, and a step for it added to its sequence.

    The text has been checked by parse_config. The step follows the last one, or ../pretrained if there is none. Without
    a factor there is no step: the task becomes a probe. UserError for a name that exists.
    """
    document = Document.parse(text)
    tasks, sequence = (_on_lines(document.content, key) for key in ("tasks", "sequence"))
    if name in tasks:
        problem = f"already exists (path: {tasks[name].get('path')})"
        raise UserError(f"params.yaml: tasks.{name}: {problem}. Choose another name, or gift remove-task {name}.")
    tasks[name] = dict(row)
    if learning_rate_factor is None:
        _on_lines(document.content["evaluation"], "probes").append(name)
        return document.text()
    after = sequence[-1]["task"] if sequence else START
    step = {"task": name, "after": after, "learning_rate_factor": learning_rate_factor}
    sequence.append(on_one_line(step) if sequence and sequence[-1].fa.flow_style() else step)
    return document.text()


def append_method(text: str, name: str, base: str | None, settings: Sequence[str], catalogue: Mapping[str, Any]) -> str:
    """Returns a params file's text with a copy of the row `base` added to its methods, and `name` to run.methods.

    Without a base, the row exists. `settings` are the keys of the copy that get another value of YAML:
    "losses.distill.weight=2.0". Sections that the base does not have are made. The copy keeps the comments of the base,
    except for those of a slot that was changed: "1.0 in the paper" is not true of another kind of consolidation.
    `catalogue` has the rows (KnownMethod) that the file lacks. UserError for an unknown base and a wrong setting.
    """
    document = Document.parse(text)
    document.content["run"]["methods"].append(name)
    if base is None:
        return document.text()
    methods = _on_lines(document.content, "methods")
    known = {**{known_name: method.row for known_name, method in catalogue.items()}, **methods}
    row = copy.deepcopy(lookup(known, base, "gift add-method --from"))
    row.__dict__.pop("_yaml_merge", None)  # the copy has the keys that `<<: *another` stands for
    row.pop("label", None)  # the name of the other method
    for setting in settings:
        key, equals, value = setting.partition("=")
        try:
            if not equals or not all(key.split(".")):
                raise ValueError("it is no KEY=VALUE")
            parsed = parse_yaml(value)
        except ValueError as error:
            problem = f"should be KEY=VALUE with a value of YAML, as losses.distill.weight=2.0 ({error})"
            raise UserError(f"--set {setting}: {problem}. Correct it.") from None
        *outer_keys, last = key.split(".")
        slot = key.split(".")[0]
        if slot in row:
            _remove_comments(row, slot)
        section = row
        for outer in outer_keys:
            if not isinstance(section.get(outer), Mapping):  # what is no section there, the checks refuse
                section[outer] = on_one_line({})
            section = section[outer]
        section[last] = on_one_line(parsed)
    changes = ", ".join(settings) or "no change yet"
    if len(changes) > MOST_ABOUT:
        changes = plural(len(settings), "change")
    about = catalogue[base].about if base == name and not settings else f"{base} with {changes}"
    add_row(methods, name, row, about, beside=base)
    return document.text()


def add_row(section: Any, name: str, row: Any, about: str, *, beside: str) -> None:
    """Adds a row with a comment behind its name, in the column of the comment of the row `beside` if that has one."""
    comments = section.ca.items.get(beside) or [None] * 4
    section[name] = row
    column = comments[2].column if comments[2] else COMMENT_COLUMN
    section.yaml_add_eol_comment(about, name, column=column)


def set_release(text: str, name: str, alpha: float) -> str:
    """Returns a params file's text in which the method `name` is released at `alpha`."""
    document = Document.parse(text)
    document.content["methods"][name]["release"] = on_one_line({"kind": "interpolate", "alpha": alpha})
    return document.text()


def remove_task(text: str, name: str) -> str:
    """Returns a params file's text without the row of a task, and its step or its name in evaluation.probes.

    The next step follows the step before. The last task leaves `tasks: {}` and `sequence: []`. Comments above the lines
    stay. The task exists, since parse_config has checked the text.
    """
    document = Document.parse(text)
    content = document.content
    _remove(content, content, "tasks", name)
    evaluation = content.get("evaluation", {})
    if name in evaluation.get("probes", ()):
        _remove(content, evaluation, "probes", evaluation["probes"].index(name))
    sequence = content["sequence"] or []
    for position in [index for index, step in enumerate(sequence) if step["task"] == name]:
        if position + 1 < len(sequence):
            sequence[position + 1]["after"] = sequence[position].get("after")
        _remove(content, content, "sequence", position)
    return document.text()


def set_order(text: str, tasks: Sequence[str]) -> str:
    """Returns a params file's text with the steps of the sequence in this order of their tasks, each after the other.

    A step keeps its comments and its other keys.
    """
    document = Document.parse(text)
    sequence = document.content["sequence"]
    positions = {step["task"]: index for index, step in enumerate(sequence)}
    steps, comments = [*sequence], dict(sequence.ca.items)
    sequence.ca.items.clear()
    for index, task in enumerate(tasks):
        former = positions[task]
        sequence[index] = steps[former]
        sequence[index]["after"] = tasks[index - 1] if index else START
        if former in comments:
            sequence.ca.items[index] = comments[former]
    return document.text()


def without_tasks(text: str, experiment: str) -> str:
    """Returns a params file's text without its tasks, steps and probes, and with another name of the experiment."""
    for name in Document.parse(text).content["tasks"]:
        text = remove_task(text, name)
    document = Document.parse(text)
    document.content["experiment"] = experiment
    return document.text()


def remove_method(text: str, name: str) -> str:
    """Returns a params file's text without the row of a method and without its name in run.methods.

    UserError for an unknown name, and for the only method that runs.
    """
    document = Document.parse(text)
    content = document.content
    lookup(content["methods"], name, "params.yaml: methods")
    running = content["run"]["methods"]
    if list(running) == [name]:
        problem = f"{name} is the only method that runs. Add another one first: gift add-method NAME"
        raise UserError(f"params.yaml: run.methods: {problem}")
    _remove(content, content, "methods", name)
    if name in running:
        _remove(content, content["run"], "methods", running.index(name))
    return document.text()
