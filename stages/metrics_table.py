"""The terminal tables of accuracies, shared by `show` and `metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

COLUMNS = ("transfer", "avg", "last", "forgetting")
TITLE = "Accuracy in percent"


def print_metrics(
    rows: Mapping[str, Mapping[str, float | None]],
    *,
    title: str = "",
    of: str = "method",
    extra: tuple[str, Mapping[str, str]] | None = None,
) -> None:
    """Prints one row per name in `rows`, in percent with one decimal. `of` is the title of the first column.

    Omits metrics that no row has. Class-incremental methods have no Transfer and no Forgetting. `extra` is one more
    column: its title, and its texts by name.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [column for column in COLUMNS if any(row[column] is not None for row in rows.values())]
    table = Table()
    table.add_column(of)
    for column in shown:
        table.add_column(column.capitalize(), justify="right")
    if extra is not None:
        table.add_column(Text(extra[0]), justify="right", no_wrap=True)
    for name, row in rows.items():
        more = () if extra is None else (extra[1][name],)
        table.add_row(Text(name), *(percent(row[column]) for column in shown), *more)  # Text: [gift] is not markup
    lower = " (Forgetting: lower is better)" if "forgetting" in shown else ""
    Console().print(Text(title or f"{TITLE}{lower}"), table, sep="\n")


def percent(value: float | None) -> str:
    """Returns a percentage with one decimal, - for None: one task has no Transfer and no Forgetting."""
    from gift_core.artifacts.report_json import one_decimal

    return "-" if value is None else one_decimal(value)


def print_by_task(rows: Mapping[str, Mapping[str, float | None]], columns: Sequence[str], *, title: str) -> None:
    """Prints one row per task. The title of a column is its key without the unit; differences have a sign."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("task", overflow="fold")
    for column in columns:
        name = column.removesuffix("_percent").removesuffix("_points").replace("_", " ")
        table.add_column(name.capitalize(), justify="right")
    for task, row in rows.items():
        table.add_row(Text(task), *(_with_unit(column, row[column]) for column in columns))
    Console().print(Text(title), table, sep="\n")


def print_text(text: str) -> None:
    """Prints a paragraph, wrapped at the width of the terminal."""
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(text))


def print_link(text: str, uri: str) -> None:
    """Prints `text` on one line. A terminal that knows links opens `uri` when the text is clicked."""
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    Console().print(Text(text, style=Style(link=uri)), soft_wrap=True)


def _with_unit(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column.endswith("_points"):
        return f"+{percent(value)}" if value > 0 and percent(value) != "0.0" else percent(value)
    return percent(value) if column.endswith("_percent") else f"{value:,.0f}"
