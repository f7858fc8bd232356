"""Writes the tables of README.md and docs/ from benchmarks/*.csv: python -m recipes.results_tables (make results).

A page has a table between `<!-- table: NAME -->` and `<!-- end -->`. results_tables.yaml says for each NAME:

    title    the heading of the first column
    file     the CSV file in benchmarks/
    rows     {heading: runs}. Runs are `METHOD KEY=VALUE ...`, with values of columns of the file.
             `RUNS -> RUNS` has the means of both. `RUNS - RUNS` has the mean difference, paired by seed, with its 95% t
             interval, or with the difference of each seed where there are two.
    columns  {heading: COLUMN KEY=VALUE ...}, or FILE.COLUMN for another file
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from gift_core.report.comparison.paper_table import difference_of
from gift_core.report.labels import number

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
DECIMALS = {"divergence": 2, "ratio": 2}
DIFFERENCES = ("zero_shot_change",)  # columns that are differences already: they have a sign

Table = dict[str, Any]


def filled(text: str) -> str:
    """Returns the page with every table as the recorded measurements make it."""
    tables: dict[str, Table] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return TABLE.sub(lambda match: f"{match[1]}\n{markdown(tables[match[2]])}\n{match[3]}", text)


def markdown(table: Table) -> str:
    """Returns the table in Markdown."""
    head = [table["title"], *table["columns"]]
    lines = [head, ["---"] * len(head)]
    for heading, runs in table["rows"].items():
        lines.append([heading, *(cell(table, runs, column) for column in table["columns"].values())])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(table: Table, runs: str, column: str) -> str:
    """Returns the text of a cell; empty where nothing was recorded."""
    file, _, quantity = column.partition(" ")[0].rpartition(".")
    filters = column.partition(" ")[2]

    def values_of(runs: str) -> pd.Series:
        return measured(file or table["file"], f"{runs} {filters}", quantity)

    if " - " in runs:
        first, second = (values_of(each) for each in runs.split(" - "))
        return difference(first, second, quantity)
    sides = [values_of(each) for each in runs.split(" -> ")]
    means = [rounded(side.mean(), quantity, signed=quantity in DIFFERENCES) for side in sides if side.notna().any()]
    return " → ".join(means)


def measured(file: str, runs: str, quantity: str) -> pd.Series:
    """Returns the recorded values of the runs by seed. KeyError where the file has no such run."""
    method, *filters = runs.split()
    rows = recorded(file)
    rows = rows[rows["method"] == method]
    for key, value in (each.split("=") for each in filters):
        rows = rows[rows[key].astype(str) == value]
    if rows.empty:
        raise KeyError(f"benchmarks/{file}.csv: no {runs}")
    by_seed: pd.Series = rows.set_index("seed" if "seed" in rows else "method")[quantity]
    assert by_seed.index.is_unique, f"benchmarks/{file}.csv: {runs}: several rows for a seed"
    return by_seed


@cache
def recorded(file: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "benchmarks" / f"{file}.csv")


def difference(first: pd.Series, second: pd.Series, quantity: str) -> str:
    """Returns first - second over the seeds of both, with its interval, or with each of two differences."""
    found = difference_of(first, second)
    assert found.seeds, "the runs have no seed in common"
    mean = rounded(found.mean, quantity, signed=True)
    if found.seeds == 1:
        return mean
    each = [rounded(value, quantity, signed=True) for value in (first - second).dropna()]
    interval = f"{rounded(found.low, quantity)} to {rounded(found.high, quantity)}"
    return f"{mean} ({', '.join(each) if found.seeds == 2 else interval})"


def rounded(value: float, quantity: str, *, signed: bool = False) -> str:
    """Returns the value as the report prints it: one decimal, or two where the quantity is small, and a minus sign."""
    decimals = DECIMALS.get(quantity, 1)
    text = number(value) if decimals == 1 else f"{value:.{decimals}f}".replace("-", "−")
    return f"+{text}" if signed and value > 0 and float(text) != 0 else text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
