"""Published results of MTIL with CLIP ViT-B/16: Transfer, Avg and Last in both orders, and accuracies by data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd

MODEL = "CLIP ViT-B/16 with OpenAI's weights"
METRICS = ("transfer", "avg", "last")


@dataclass(frozen=True)
class Benchmark:
    """One order of MTIL: its name in papers, its key in mtil_summary.csv, its data sets by their catalogue names."""

    title: str
    key: str
    data_sets: tuple[str, ...]


ORDER_1 = Benchmark(
    "MTIL order I",
    "mtil_order_1",
    ("aircraft", "caltech101", "cifar100", "dtd", "eurosat", "flowers", "food", "mnist", "oxford_pet", "stanford_cars",
     "sun397"),
)  # fmt: skip
ORDER_2 = Benchmark(
    "MTIL order II",
    "mtil_order_2",
    ("stanford_cars", "food", "mnist", "oxford_pet", "flowers", "sun397", "aircraft", "caltech101", "dtd", "eurosat",
     "cifar100"),
)  # fmt: skip


def benchmark_of(data_sets: Sequence[str]) -> Benchmark | None:
    """Returns the benchmark that is exactly this sequence of data sets, or None."""
    return next((order for order in (ORDER_1, ORDER_2) if order.data_sets == tuple(data_sets)), None)


def summary(benchmark: Benchmark) -> pd.DataFrame:
    """Returns transfer, avg and last in percent and source (text), one row per method, in the published order."""
    table = _read("mtil_summary.csv")
    return table[table["order"] == benchmark.key].set_index("method")[[*METRICS, "source"]]


def recent(benchmark: Benchmark) -> pd.DataFrame:
    """Returns later results: transfer, avg, last in percent (or NaN), kind, read_from, source; one row per method."""
    table = _read("recent.csv")
    return table[table["benchmark"] == benchmark.key].set_index("method")


def accuracy_rows(benchmark: Benchmark) -> pd.DataFrame:
    """Returns rows as artifacts.accuracy.read_accuracy_rows does, of the methods whose accuracies were published."""
    name = f"{benchmark.key}_accuracy.csv"
    if not (files(__package__) / name).is_file():
        return pd.DataFrame(columns=["method", "protocol", "step", "trained_task", "eval_task", "top1"])
    rows = _read(name).assign(protocol="task_incremental")
    return rows.assign(top1=rows["top1_percent"] / 100).drop(columns="top1_percent")


def zero_shot(benchmark: Benchmark) -> pd.Series[float]:
    """Returns the accuracy in percent of the pre-trained model on each data set, in the order of the benchmark.

    The model has the same accuracies in both orders.
    """
    rows = _read(f"{ORDER_1.key}_accuracy.csv")
    pretrained = rows[(rows["method"] == "zero_shot") & (rows["step"] == 0)].set_index("eval_task")["top1_percent"]
    return pretrained.reindex(list(benchmark.data_sets))


def _read(name: str) -> pd.DataFrame:
    with (files(__package__) / name).open(encoding="utf-8") as lines:
        table: pd.DataFrame = pd.read_csv(lines)
    return table
