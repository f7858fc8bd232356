"""The table of a paper: Transfer, Avg and Last of each method by task, over seeds: LaTeX, Markdown, CSV, JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from gift_core.artifacts.report_json import METRICS, one_decimal, rounded
from gift_core.method.metrics import ZERO_SHOT, matrix_scores_by_task, summarize
from gift_core.quantities import plural
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS
from gift_core.report.comparison.runs_by_seed import Comparison, difference_of
from gift_core.report.labels import COLUMN_TITLES, LOWER_IS_BETTER, known_name, labels_of
from gift_core.report.published_results import PublishedMethod

PRINTED = ("transfer", "avg", "last")
COLUMNS = [
    "metric", "method", "task", "mean", "deviation", "low", "high", "seeds", "mark",
    "difference", "difference_low", "difference_high", "exceeds_noise",
]  # fmt: skip
MEAN = "mean"  # in place of a task: the mean over all
NOISE = "≈: differs from the best by noise alone (the 95% interval of Student's t, paired by seed, contains 0)."
SPECIAL = str.maketrans(
    {each: f"\\{each}" for each in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "≈": r"$\approx$", "†": r"$\dagger$", "–": "--"}
)
COMPACT = "\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}"  # so that eleven tasks fit in a page's width


@dataclass(frozen=True)
class Markup:
    """How texts are written: patterns for the best value, the second best, a deviation and a mark."""

    best: str
    second: str
    deviation: str
    mark: str
    escape: Callable[[str], str]


LATEX = Markup(
    best=r"\textbf{{{}}}",
    second=r"\underline{{{}}}",
    deviation=r"{{\scriptsize $\pm${}}}",
    mark=r"\textsuperscript{{{}}}",
    escape=lambda text: text.translate(SPECIAL),
)
MARKDOWN = Markup("**{}**", "<u>{}</u>", " ± {}", " {}", escape=lambda text: text.replace("|", "\\|"))


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """What is printed: `statistics` (see statistics_of), over a number of seeds, and the names of methods.

    `of_benchmark`: what the accuracies are of, such as " of the miniature benchmark". `published`: rows that were not
    measured here, which have no rank.
    """

    statistics: pd.DataFrame
    seeds: Sequence[int]
    against: str
    labels: Mapping[str, str]
    of_benchmark: str = ""
    published: Sequence[PublishedMethod] = ()

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The statistics, and the published scores with their source in the column `published`."""
        found = [
            {"metric": metric, "method": row.method, "task": task, "mean": percent, "mark": "", "published": row.source}
            for row in self.published
            for metric in METRICS
            for task, percent in _published_scores(row, metric).items()
        ]
        measured = self.statistics.assign(against=self.against, published="")
        return pd.concat([measured, pd.DataFrame(found)], ignore_index=True) if found else measured

    def text(self, output: Literal["latex", "markdown", "csv"]) -> str:
        """The table in one of the formats."""
        return {"latex": self.latex, "markdown": self.markdown, "csv": self.csv}[output]()

    def csv(self) -> str:
        """The rows as CSV, with four decimals."""
        return self.rows.map(rounded).to_csv(index=False, lineterminator="\n")

    def record(self) -> dict[str, Any]:
        """The content of JSON: the seeds, and of each method figures and differences, in all and by task."""
        methods: dict[str, dict[str, Any]] = {}
        for row in self.statistics.astype(object).where(self.statistics.notna(), None).to_dict("records"):
            of_method = methods.setdefault(row["method"], {"figures": {}, "difference": {}, "by_task": {}})
            entry = of_method
            if row["task"] != MEAN:
                entry = of_method["by_task"].setdefault(row["task"], {"figures": {}, "difference": {}})
            entry["figures"][row["metric"]] = {
                **_figure(row, "mean", "low", "high"),
                "deviation": rounded(row["deviation"]),
            }
            if row["difference"] is not None:
                found = _figure(row, "difference", "difference_low", "difference_high")
                noise = {} if row["exceeds_noise"] is None else {"exceeds_noise": row["exceeds_noise"]}
                entry["difference"][row["metric"]] = found | noise
        return {"seeds": list(self.seeds), "against": self.against, "methods": methods}

    def notes(self) -> list[str]:
        """What the numbers and the marks mean."""
        over = f"mean ± standard deviation over {plural(len(self.seeds), 'seed')}"
        if len(self.seeds) == 1:
            over = "one seed, so no difference can be distinguished from noise"
        notes, marks = [f"Accuracy in percent{self.of_benchmark}, {over}."], set(self.statistics["mark"])
        if "best" in marks:
            notes.append("In each column the best is bold, the second best underlined.")
        if any("noise" in mark for mark in marks):
            notes.append(NOISE)
        if self.published:
            sources = "; ".join(dict.fromkeys(row.source for row in self.published))
            notes.append(f"†: published, not measured here, and without a rank ({sources}).")
        return notes

    def cells(self, markup: Markup) -> pd.DataFrame:
        """The texts: a row for each metric and method, a column for each task and the mean."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for row in self.rows[self.rows["metric"].isin(PRINTED)].to_dict("records"):
            name = markup.escape(self.labels.get(row["method"], row["method"]))
            if row["published"]:
                name = markup.escape(known_name(row["method"])) + markup.mark.format(markup.escape("†"))
            elif row["seeds"] < len(self.seeds):
                name += f" ({row['seeds']:.0f} of {len(self.seeds)} seeds)"
            found.setdefault((COLUMN_TITLES[row["metric"]], name), {})[row["task"]] = _cell(row, markup)
        order = sorted(found, key=lambda key: [COLUMN_TITLES[metric] for metric in PRINTED].index(key[0]))
        table = pd.DataFrame({key: found[key] for key in order}).T
        of_avg = self.statistics.loc[self.statistics["metric"] == "avg", "task"].unique()  # the first has no Transfer
        tasks = [task for task in of_avg if task != MEAN]
        return table.reindex(columns=[*tasks, MEAN]).rename(columns=markup.escape).fillna(markup.escape("–"))

    def latex(self) -> str:
        """A LaTeX table, which needs the package booktabs. The notes are its caption."""
        table = self.cells(LATEX)
        text = table.style.to_latex(
            environment="table*", position_float="centering", hrules=True, clines="skip-last;data",
            multirow_align="naive", column_format="ll" + "r" * len(table.columns), label="tab:results",
            caption=LATEX.escape(" ".join(self.notes())),
        )  # fmt: skip
        line = f"\\cline{{1-{len(table.columns) + 2}}}\n"
        text = text.replace(f"{line}\\bottomrule", "\\bottomrule").replace(line, "\\midrule\n")
        return "% \\usepackage{booktabs}\n" + text.replace("\\centering", COMPACT)

    def markdown(self) -> str:
        """A Markdown table with its notes below it."""
        table = self.cells(MARKDOWN)
        lines = [["", "", *table.columns], ["---", "---", *("---:" for _ in table.columns)]]
        lines += [[*key, *cells] for key, cells in zip(table.index, table.to_numpy(), strict=True)]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n" + "\n".join(self.notes()) + "\n"


def statistics_of(rows: pd.DataFrame, *, against: str, ranked: Sequence[str]) -> pd.DataFrame:
    """Returns a row for each metric, method and task with a score: its mean over the seeds, and how it compares.

    `rows`: seed, method, task (MEAN: in all), then metrics in percent. `ranked`: the methods of which one is the best.
    The columns are COLUMNS. low and high are the 95% interval of the mean. difference is the mean of the method's score
    minus that of `against` with the same seed, with its interval. mark: see marks_of. One seed has no intervals.
    """
    found = []
    for metric in rows.columns.drop(["seed", "method", "task"]):
        for task, of_task in rows.groupby("task", sort=False):
            scores = of_task.pivot(index="seed", columns="method", values=metric).astype(float)
            lower_is_better = metric in LOWER_IS_BETTER
            marks = marks_of(scores[[name for name in ranked if name in scores]], lower_is_better=lower_is_better)
            for method in of_task["method"].unique():
                interval = difference_of(scores[method], 0.0)
                if interval is None:
                    continue
                row = {"metric": metric, "method": method, "task": task, "mean": interval.mean}
                row |= {"deviation": scores[method].std(), "low": interval.low, "high": interval.high}
                row |= {"seeds": interval.count, "mark": marks.get(method, "")}
                has_other = method != against and against in scores
                difference = difference_of(scores[method], scores[against]) if has_other else None
                if difference is not None:
                    row |= {"difference": difference.mean, "difference_low": difference.low}
                    row |= {"difference_high": difference.high}
                    row["exceeds_noise"] = difference.exceeds_noise if difference.count > 1 else None
                found.append(row)
    return pd.DataFrame(found, columns=COLUMNS)


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
        difference = difference_of(scores[method], scores[means.index[0]])
        if rank > 0 and difference is not None and difference.verdict("") == "noise":
            mark += " noise"
        marks[str(method)] = mark.strip()
    return marks


def table_of_runs(comparison: Comparison) -> PaperTable:
    """The table of finished runs. A method with a separate model for each task has no row: it has Own task alone."""
    rows = pd.concat([comparison.values.assign(task=MEAN), comparison.by_task])
    others = rows.columns.drop(["seed", "method", "task", *SEPARATE_MODEL_COLUMNS], errors="ignore")
    rows.loc[rows["method"].isin(comparison.separate_models), others] = math.nan
    published = comparison.published
    return PaperTable(
        statistics=statistics_of(rows, against=comparison.against, ranked=comparison.contenders),
        seeds=comparison.seeds,
        against=comparison.against,
        labels=comparison.labels,
        of_benchmark=comparison.miniature.of_benchmark,
        published=published.methods if published else (),
    )


def table_of_accuracies(rows: pd.DataFrame) -> PaperTable:
    """The table of the rows of read_accuracy_rows. Differences are those to the method with the highest mean Last."""
    found = [
        {"seed": seed, "method": method, "task": task, **scores}
        for seed, of_seed in rows.groupby("seed")
        for method, summary in summarize(of_seed).items()
        for task, scores in {**summary.by_task, MEAN: summary.metrics}.items()
    ]
    scores = pd.DataFrame(found)
    ranked = [method for method in scores["method"].unique() if method != ZERO_SHOT]
    in_all = scores[scores["task"] == MEAN].groupby("method")["last"].mean()
    against = str(in_all[ranked or [ZERO_SHOT]].idxmax())
    return PaperTable(
        statistics=statistics_of(scores, against=against, ranked=ranked),
        seeds=[int(seed) for seed in scores["seed"].unique()],
        against=against,
        labels=labels_of(dict.fromkeys(scores["method"])),
    )


def _published_scores(row: PublishedMethod, metric: str) -> dict[str, float]:
    """The published percent by task, where the accuracies are published, and in all."""
    by_task = {} if row.matrix is None else matrix_scores_by_task(row.matrix.iloc[1:])
    scores = {task: of_task[metric] for task, of_task in by_task.items()} | {MEAN: row.scores.get(metric)}
    return {task: percent for task, percent in scores.items() if percent is not None and not math.isnan(percent)}


def _figure(row: Mapping[Hashable, Any], mean: str, low: str, high: str) -> dict[str, Any]:
    interval = None if row[low] is None else [rounded(row[low]), rounded(row[high])]
    return {"mean": rounded(row[mean]), "interval_95": interval, "seeds": row["seeds"]}


def _cell(row: Mapping[Hashable, Any], markup: Markup) -> str:
    text, marks = one_decimal(row["mean"]), row["mark"].split()
    if "best" in marks:
        text = markup.best.format(text)
    if "second" in marks:
        text = markup.second.format(text)
    if not math.isnan(row["deviation"]):
        text += markup.deviation.format(one_decimal(row["deviation"]))
    return text + markup.mark.format(markup.escape("≈")) if "noise" in marks else text
