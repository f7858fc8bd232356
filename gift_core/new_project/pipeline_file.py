"""The dvc.yaml of a project, made from the repository's, where the code is a folder and not an installed package."""

from __future__ import annotations

_IN_CLONE = "python -m stages "
_CHECK = "    cmd: gift check\n"
_CODE = "      - gift_core\n      - stages\n"
_ALWAYS = (
    "    always_changed: true   # it reads the installed package, which is no file of the project; about a second\n"
)


def project_pipeline(text: str) -> str:
    """Returns the text of a project's dvc.yaml from that of the repository's. Comments stay.

    The commands start with `gift`. `check` depends on params.yaml alone and runs at every `dvc repro`, so that it sees
    another version of the package. Its outputs are the same bytes as long as the code is the same.
    """
    return text.replace(_IN_CLONE, "gift ").replace(_CODE, "", 1).replace(_CHECK, _CHECK + _ALWAYS, 1)
