"""Some of a data set's classes, as class-incremental benchmarks learn them: in an order that others published."""

from __future__ import annotations

import json
from importlib.resources import files

from gift_core.config.tasks import ClassSliceConfig
from gift_core.errors import UserError, did_you_mean
from gift_core.tasks.catalogue.row import CatalogueRow


def sliced_classes(row: CatalogueRow, config: ClassSliceConfig | None, place: str) -> dict[str, str]:
    """Returns {what the data set calls a class: its name} of the slice, in its order; all of them for None.

    UserError, beginning with `place`, for a slice that ends behind the last class and for a data set without a
    benchmark order.
    """
    if config is None:
        return dict(row.classes)
    end = config.first + config.count
    if end > len(row.classes):
        what = f"first {config.first} and count {config.count} end at class {end}, {row.name} has {len(row.classes)}"
        raise UserError(f"{place}.classes: {what}. Write a smaller first or count.")
    order = range(len(row.classes)) if config.order == "labels" else benchmark_order(row.name, f"{place}.classes.order")
    labels = tuple(row.classes)
    return {labels[label]: row.classes[labels[label]] for label in order[config.first : end]}


def benchmark_order(name: str, place: str) -> list[int]:
    """Returns the labels of data set `name` in the order in which class-incremental benchmarks learn them."""
    text = files("gift_core").joinpath("published/cil_class_orders.json").read_text(encoding="utf-8")
    orders: dict[str, list[int]] = {key: order for key, order in json.loads(text).items() if isinstance(order, list)}
    if name not in orders:
        what = f"{name} has no benchmark order. {did_you_mean(name, orders)} Or write: labels"
        raise UserError(f"{place}: {what}")
    return orders[name]
