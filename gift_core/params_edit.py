"""A change of params.yaml that is about to be made: the text before and after it, and the experiment that it gives."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from gift_core.artifacts.atomic import write_atomically
from gift_core.config.experiment import Config
from gift_core.errors import UserError, no_such_path
from gift_core.untrusted import MAX_YAML_BYTES, decode_text, read_limited


@dataclass(frozen=True)
class ParamsEdit:
    """A new text for the file `params`. `config` is the experiment in it."""

    params: Path
    before: str
    after: str
    config: Config

    def difference(self) -> list[str]:
        """Returns the lines of a unified diff of the file with one line of context."""
        name, before, after = self.params.name, self.before.splitlines(), self.after.splitlines()
        return list(difflib.unified_diff(before, after, name, name, n=1, lineterm=""))

    def carry_out(self) -> None:
        """Replaces the file atomically."""
        with write_atomically(self.params) as unfinished:
            unfinished.write_bytes(self.after.encode())


def read_params(params: Path) -> str:
    """Returns the text of a params file with its line ends. UserError if it cannot be read."""
    if not params.is_file():
        raise UserError(f"--params {no_such_path(params, 'file')} Run in the project's root, or name the file.")
    try:
        return decode_text(read_limited(params, MAX_YAML_BYTES))
    except (OSError, ValueError) as error:
        raise UserError(f"--params {params}: cannot be read ({error}). Save it as UTF-8 text.") from None
