"""The table of a paper: Transfer, Avg and Last of each method by task, over seeds: LaTeX, Markdown, CSV, JSON."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import pandas as pd

from gift_core.artifacts.report_json import METRICS, one_decimal, rounded
from gift_core.method.metrics import ZERO_SHOT, matrix_scores_by_task
from gift_core.quantities import plural
from gift_core.report.accuracies import MEAN, SEPARATE_MODEL_COLUMNS, RunScores, score_table
from gift_core.report.comparison.runs_by_seed import Comparison
from gift_core.report.labels import COLUMN_TITLES, LOWER_IS_BETTER, known_name, labels_of
from gift_core.report.published_results import PublishedMethod

CONFIDENCE = 0.95
PRINTED = ("transfer", "avg", "last")
NOISE = "≈: differs from the best by noise alone (the 95% interval of Student's t, paired by seed, contains 0)."
SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "≈": r"$\approx$", "†": r"$\dagger$", "–": "--"}
)
AS_LATEX = {  # what a cell has in Markdown, after SPECIAL
    r"\*\*(.*?)\*\*": r"\\textbf{\1}",
    r"<u>(.*?)</u>": r"\\underline{\1}",
    r" \$\\pm\$ (\S+)": r"{\\scriptsize $\\pm$\1}",
    r" (\$\\(?:approx|dagger)\$)$": r"\\textsuperscript{\1}",
}
COMPACT = "\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}"  # so that eleven tasks fit in a page's width


@dataclass(frozen=True)
class Difference:
    """Mean difference over `seeds` paired seeds and its 95% interval, NaN to NaN for one seed."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def exceeds_noise(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    def verdict(self, column: str) -> str:
        """better or worse (beyond the noise), noise (within it), unknown (without an interval)."""
        if not self.exceeds_noise:
            return "unknown" if self.seeds < 2 else "noise"
        return "better" if (self.mean > 0) != (column in LOWER_IS_BETTER) else "worse"


UNDEFINED = Difference(math.nan, math.nan, math.nan, 0)  # without a common seed


@dataclass(frozen=True, kw_only=True, eq=False)
class PaperTable:
    """What is printed: `rows` (see statistics_of), over a number of seeds, and the names of methods.

    Rows with a source in the column `published` were not measured here, and have no rank. `of_benchmark`: what the
    accuracies are of, such as " of the miniature benchmark".
    """

    rows: pd.DataFrame
    seeds: Sequence[int]
    labels: Mapping[str, str]
    of_benchmark: str = ""

    def text(self, output: Literal["latex", "markdown", "csv"]) -> str:
        """The table in one of the formats."""
        return {"latex": self.latex, "markdown": self.markdown, "csv": self.csv}[output]()

    def csv(self) -> str:
        """The rows as CSV, with four decimals."""
        return self.rows.map(rounded).to_csv(index=False, lineterminator="\n")

    def record(self) -> dict[str, Any]:
        """The content of JSON: the seeds, and of each method figures and differences, in all and by task."""
        methods: dict[str, dict[str, Any]] = {}
        for row in self.rows[self.rows["published"] == ""].to_dict("records"):
            entry = methods.setdefault(row["method"], {"figures": {}, "difference": {}, "by_task": {}})
            if row["task"] != MEAN:
                entry = entry["by_task"].setdefault(row["task"], {"figures": {}, "difference": {}})
            deviation = None if row["seeds"] == 1 else rounded(row["deviation"])
            entry["figures"][row["metric"]] = {**_figure(_interval_in(row, "")), "deviation": deviation}
            difference = _interval_in(row, "difference_")
            if difference.seeds > 0:
                entry["difference"][row["metric"]] = _figure(difference)
            if difference.seeds > 1:
                entry["difference"][row["metric"]]["exceeds_noise"] = difference.exceeds_noise
        return {"seeds": list(self.seeds), "against": self.rows["against"].iloc[0], "methods": methods}

    @cached_property
    def differences(self) -> Mapping[str, Mapping[str, Difference]]:
        """In all, by method and metric, where both methods have a value with a common seed."""
        by_method: dict[str, dict[str, Difference]] = defaultdict(dict)
        for row in self.rows[(self.rows["task"] == MEAN) & (self.rows["difference_seeds"] > 0)].to_dict("records"):
            by_method[row["method"]][row["metric"]] = _interval_in(row, "difference_")
        return by_method

    def notes(self) -> list[str]:
        """What the numbers and the marks mean."""
        over = f"mean ± standard deviation over {plural(len(self.seeds), 'seed')}"
        if len(self.seeds) == 1:
            over = "one seed, so no difference can be distinguished from noise"
        notes, marks = [f"Accuracy in percent{self.of_benchmark}, {over}."], set(self.rows["mark"])
        if "best" in marks:
            notes.append("In each column the best is bold, the second underlined; zero-shot and joint are not ranked.")
        if any("noise" in mark for mark in marks):
            notes.append(NOISE)
        sources = "; ".join(filter(None, self.rows["published"].unique()))
        if sources:
            notes.append(f"†: published, not measured here, and without a rank ({sources}).")
        return notes

    def cells(self) -> pd.DataFrame:
        """The texts in Markdown: a row for each metric and method, a column for each task and the mean."""
        cells: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for metric in PRINTED:
            for row in self.rows[self.rows["metric"] == metric].to_dict("records"):
                name = self.labels.get(row["method"], row["method"])
                if row["published"]:
                    name = f"{known_name(row['method'])} †"
                elif row["seeds"] < len(self.seeds):
                    name += f" ({row['seeds']:.0f} of {len(self.seeds)} seeds)"
                cells[COLUMN_TITLES[metric], name][row["task"]] = _cell(row)
        of_avg = self.rows.loc[self.rows["metric"] == "avg", "task"].unique()  # the first has no Transfer
        tasks = [task for task in of_avg if task != MEAN]
        return pd.DataFrame(cells).T.reindex(columns=[*tasks, MEAN]).fillna("–")

    def latex(self) -> str:
        """A LaTeX table, which needs the package booktabs. The notes are its caption."""
        table = self.cells().map(_latex).rename(columns=_latex, index=_latex)
        text = table.style.to_latex(
            environment="table*", position_float="centering", hrules=True, clines="skip-last;data",
            multirow_align="naive", column_format="ll" + "r" * len(table.columns), label="tab:results",
            caption=" ".join(self.notes()).translate(SPECIAL),
        )  # fmt: skip
        line = f"\\cline{{1-{len(table.columns) + 2}}}\n"
        text = text.replace(f"{line}\\bottomrule", "\\bottomrule").replace(line, "\\midrule\n")
        return "% \\usepackage{booktabs}\n" + text.replace("\\centering", COMPACT)

    def markdown(self) -> str:
        """A Markdown table with its notes below it."""
        table = self.cells()
        lines = [["", "", *table.columns], ["---", "---", *("---:" for _ in table.columns)]]
        lines += [
            [metric, name.replace("|", "\\|"), *cells]
            for (metric, name), cells in zip(table.index, table.to_numpy(), strict=True)
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n" + "\n".join(self.notes()) + "\n"


def difference_of(scores: pd.Series[float], others: pd.Series[float] | float) -> Difference:
    """scores - others over the seeds of both, with its 95% interval; UNDEFINED without a common seed.

    With 0 in place of the others: the mean of the scores, with its interval.
    """
    differences = (scores - others).dropna()
    count = len(differences)
    if count == 0:
        return UNDEFINED
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # here, because importing it takes half a second

    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))  # of Student's t
    mean, margin = float(differences.mean()), quantile * float(differences.std(ddof=1)) / math.sqrt(count)
    return Difference(mean, mean - margin, mean + margin, count)


def statistics_of(rows: pd.DataFrame, *, against: str, ranked: Sequence[str]) -> pd.DataFrame:
    """Returns a row for each metric, method and task with a score: its mean over the seeds, and how it compares.

    `rows`: seed, method, task (MEAN: in all), then metrics in percent. `ranked`: the methods of which one is the best.
    The columns are metric, method, task, mark (see marks_of), deviation; mean, low and high (the 95% interval of the
    mean), seeds; the same with difference_ in front, of the method's score minus that of `against` with the same seed;
    against, and published (empty). One seed has no intervals.
    """
    statistics = []
    for metric in rows.columns.drop(["seed", "method", "task"]):
        for task, of_task in rows.groupby("task", sort=False):
            scores = of_task.pivot(index="seed", columns="method", values=metric).astype(float)
            ranks = [name for name in ranked if name in scores]
            marks = marks_of(scores[ranks], lower_is_better=metric in LOWER_IS_BETTER)
            for method in of_task["method"].unique():
                mean, difference = difference_of(scores[method], 0.0), UNDEFINED
                if mean.seeds == 0:
                    continue
                if method != against and against in scores:
                    difference = difference_of(scores[method], scores[against])
                row = {"metric": metric, "method": method, "task": task, "mark": marks.get(method, "")}
                row |= {"deviation": scores[method].std(), **vars(mean)}
                row |= {f"difference_{name}": value for name, value in vars(difference).items()}
                statistics.append(row)
    return pd.DataFrame(statistics).assign(against=against, published="")


def marks_of(scores: pd.DataFrame, *, lower_is_better: bool) -> dict[str, str]:
    """Returns "best", "second", "noise" (differs from the best by noise alone), or "second noise" by method.

    `scores`: a row for each seed, a column for each method. Means that print the same have the same rank.
    """
    means = scores.mean().dropna().sort_values(ascending=lower_is_better, kind="stable")
    printed = list(dict.fromkeys(map(one_decimal, means)))
    marks = {}
    for method, mean in means.items() if len(means) > 1 else ():
        rank = printed.index(one_decimal(mean))
        mark = ("best", "second", "")[min(rank, 2)]
        if rank > 0 and difference_of(scores[method], scores[means.index[0]]).verdict("") == "noise":
            mark += " noise"
        marks[str(method)] = mark.strip()
    return marks


@lru_cache(maxsize=1)  # the page, the files and the terminal have the same numbers
def table_of_runs(comparison: Comparison) -> PaperTable:
    """The table of finished runs. A method with a separate model for each task has no row: it has Own task alone."""
    rows = comparison.table.copy()
    others = rows.columns[3:].drop([*SEPARATE_MODEL_COLUMNS], errors="ignore")
    rows.loc[rows["method"].isin(comparison.separate_models), others] = math.nan
    statistics = statistics_of(rows, against=comparison.against, ranked=comparison.contenders)
    published = comparison.published.methods if comparison.published else ()
    return PaperTable(
        rows=pd.concat([statistics, *map(_published_rows, published)], ignore_index=True),
        seeds=comparison.seeds,
        labels=comparison.labels,
        of_benchmark=comparison.miniature.of_benchmark,
    )


def table_of_scores(runs: Mapping[int, RunScores]) -> PaperTable:
    """The table of scores by seed. Differences are those to the method with the highest mean Last."""
    scores = score_table(runs)
    methods = dict.fromkeys(scores["method"])
    ranked = [method for method in methods if method != ZERO_SHOT]
    in_all = scores[scores["task"] == MEAN].groupby("method")["last"].mean()
    against = str(in_all[ranked or [ZERO_SHOT]].idxmax())
    statistics = statistics_of(scores, against=against, ranked=ranked)
    return PaperTable(rows=statistics, seeds=[*runs], labels=labels_of(methods))


def _published_rows(method: PublishedMethod) -> pd.DataFrame:
    """The published percent in all, and by task where the accuracies are published."""
    by_task = {} if method.matrix is None else matrix_scores_by_task(method.matrix.iloc[1:])
    scores = pd.DataFrame({**by_task, MEAN: dict(method.scores)}).reindex(METRICS).astype(float)
    rows = scores.rename_axis("metric").reset_index().melt("metric", var_name="task", value_name="percent")
    rows = rows.dropna().rename(columns={"percent": "mean"})
    return rows.assign(method=method.method, mark="", published=method.source)


def _interval_in(row: Mapping[Hashable, Any], prefix: str) -> Difference:
    """The mean with its interval in a row of statistics_of, or with "difference_" the difference."""
    return Difference(*(row[f"{prefix}{name}"] for name in ("mean", "low", "high", "seeds")))


def _figure(figure: Difference) -> dict[str, Any]:
    interval = [rounded(figure.low), rounded(figure.high)] if figure.seeds > 1 else None
    return {"mean": rounded(figure.mean), "interval_95": interval, "seeds": int(figure.seeds)}


def _cell(row: Mapping[Hashable, Any]) -> str:
    text = one_decimal(row["mean"])
    text = {"best": f"**{text}**", "second": f"<u>{text}</u>"}.get(row["mark"].split(" ")[0], text)
    if not math.isnan(row["deviation"]):
        text += f" ± {one_decimal(row['deviation'])}"
    return f"{text} ≈" if "noise" in row["mark"] else text


def _latex(text: str) -> str:
    """A text of `cells` in LaTeX."""
    text = text.translate(SPECIAL)
    for pattern, replacement in AS_LATEX.items():
        text = re.sub(pattern, replacement, text)
    return text
