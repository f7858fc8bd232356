"""The terminal table of Transfer, Avg, Last and Forgetting, shared by `show` and `metrics`."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS = ("transfer", "avg", "last", "forgetting")
TITLE = "Accuracy in percent"


def print_metrics(rows: Mapping[str, Mapping[str, float | None]], *, title: str = "", of: str = "method") -> None:
    """Prints one row per name in `rows`, in percent with one decimal. `of` is the title of the first column.

    Omits metrics that no row has. Class-incremental methods have no Transfer and no Forgetting.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [column for column in COLUMNS if any(row[column] is not None for row in rows.values())]
    table = Table()
    table.add_column(of)
    for column in shown:
        table.add_column(column.capitalize(), justify="right")
    for name, row in rows.items():
        table.add_row(Text(name), *(percent(row[column]) for column in shown))  # Text: [gift] is not markup
    lower = " (Forgetting: lower is better)" if "forgetting" in shown else ""
    Console().print(Text(title or f"{TITLE}{lower}"), table, sep="\n")


def percent(value: float | None) -> str:
    """Returns a percentage with one decimal, - for None: one task has no Transfer and no Forgetting."""
    return "-" if value is None else f"{value:.1f}"
