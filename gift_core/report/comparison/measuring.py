"""Runs become a Comparison: spreads, differences to one method, and the groups in which the methods are shown."""

from __future__ import annotations

from gift_core.errors import lookup
from gift_core.metrics import ZERO_SHOT
from gift_core.report.comparison.figures import Comparison, Difference, Group, Runs
from gift_core.report.comparison.statistics import difference_of, spread_of
from gift_core.report.words import label

OF_SEPARATE_MODELS = ("own",)  # a model a task: no one model has the other figures


def measure_runs(runs: Runs, against: str | None) -> Comparison:
    """The comparison, differences being to `against`: by default the best by Last that is no reference.

    UserError with the nearest name where `against` is no method of the runs.
    """
    names = (ZERO_SHOT, *runs.methods)
    chosen = best_by_last(runs) if against is None else lookup({name: name for name in names}, against, "--against")
    return Comparison(
        runs=runs,
        against=chosen,
        groups=groups_of(runs),
        spreads={
            name: {column: spread_of(runs.of(name, column)) for column in shown_columns(runs, name)} for name in names
        },
        differences={name: _differences(runs, name, chosen) for name in names if name != chosen},
    )


def best_by_last(runs: Runs) -> str:
    """The contender with the highest mean Last; the zero-shot model where there is none."""
    contenders = [name for name in runs.methods if name not in runs.references]
    return max(contenders, key=lambda name: float(runs.of(name, "last").mean()), default=ZERO_SHOT)


def shown_columns(runs: Runs, method: str) -> tuple[str, ...]:
    """The columns that mean something for the method."""
    return OF_SEPARATE_MODELS if method in runs.separate_models else runs.columns


def groups_of(runs: Runs) -> tuple[Group, ...]:
    """References; then the method with the most variants (gift: gift_cd, gift_l2 ...), its variants, and the others."""
    contenders = [name for name in runs.methods if name not in runs.references]
    variants = {name: tuple(n for n in contenders if n.startswith(f"{name}_")) for name in contenders}
    family = max(contenders, key=lambda name: len(variants[name]), default="")
    ablations = variants.get(family, ())
    others = tuple(name for name in contenders if not ablations or name not in (family, *ablations))
    groups = (
        Group("References", (ZERO_SHOT, *runs.references)),
        Group("Baselines" if ablations else "Methods", others),
        Group(label(family), (family,) if ablations else ()),
        Group(f"Ablations of {label(family)}", ablations),
    )
    return tuple(group for group in groups if group.methods)


def _differences(runs: Runs, method: str, against: str) -> dict[str, Difference]:
    columns = [column for column in shown_columns(runs, method) if column in shown_columns(runs, against)]
    found = {column: difference_of(runs.of(method, column), runs.of(against, column)) for column in columns}
    return {column: difference for column, difference in found.items() if difference is not None}
