"""data verify NAME...: counts, decodes and weighs the classes of data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from stages.data_places import All, Names, chosen_places
from stages.stage import PARAMS, ROOT, Params, Root

if TYPE_CHECKING:
    from gift_core.tasks.catalogue.verify import Verification

NAMED = 5  # offenders that are named


def verify(names: Names = None, every: All = False, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Decode every image of data sets; count splits and classes; name the first offenders.

    The exit code is 0 only if each is the official data set and can be read.
    """
    from gift_core.tasks.catalogue.verify import verify as look_closely

    bad: list[str] = []
    for place in chosen_places(names, every, params, root):
        verification = look_closely(place.row, place.path)
        for line in _lines(verification):
            typer.echo(f"{place.row.name}: {line}")
        if not verification.sound:
            bad.append(place.row.name)
    if bad:
        typer.secho(f"not as published: {', '.join(bad)}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _lines(verification: Verification) -> list[str]:
    inventory = verification.inventory
    lines = [f"{inventory.state} in {inventory.folder}", *inventory.faults]
    if not any(inventory.splits.values()):
        return lines
    for split, balance in verification.balances.items():
        spread = f"{balance.least} to {balance.most} a class, median {balance.median:g}"
        lines.append(f"{split}: {inventory.count(split):,} images, {spread}")
        if balance.empty:
            lines.append(f"{split}: {len(balance.empty)} classes have none: {_first(balance.empty)}")
    unreadable = [f"{file} ({reason})" for file, reason in verification.unreadable]
    lines.append(f"{len(unreadable)} images cannot be decoded{': ' if unreadable else ''}{_first(unreadable)}")
    return lines


def _first(offenders: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(offenders) - NAMED} more" if len(offenders) > NAMED else ""
    return ", ".join(offenders[:NAMED]) + more
