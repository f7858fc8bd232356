"""What compare.py, search.py and curve.py share: their options, and the experiment that these describe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.experiment import Experiment, choose_methods, default_workers, read_experiment, set_order
from benchmarks.variants import Variant, read_variants
from gift_core.errors import GiftError, lookup
from gift_core.protocols import PROTOCOLS

SEEDS = (1, 2, 3)  # of a comparison


def parser_of(doc: str | None, *, seeds: tuple[int, ...], work: str, out: str) -> argparse.ArgumentParser:
    """Returns the parser of the shared options, with these defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", type=Path, default=Path("presets/mini_compare.yaml"))
    parser.add_argument("--variants", type=Path, help="a file of variants of methods (see benchmarks/variants.py)")
    parser.add_argument("--methods", nargs="+", help="methods of the preset and variants (default: all)")
    parser.add_argument("--order", nargs="+", metavar="TASK", help="the tasks of the preset in another order")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="of the tests (default: as in the preset)")
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds)
    parser.add_argument(
        "--workers", type=int, default=default_workers(), help="number of processes, with one thread each"
    )
    parser.add_argument("--work", type=Path, default=Path(work), help="the folder of the results that are reused")
    parser.add_argument("--out", type=Path, default=Path(out), help="[default: %(default)s]")
    return parser


def read_choices(choices: argparse.Namespace) -> tuple[Experiment, dict[str, Variant]]:
    """Returns the preset with the order and protocol that were chosen, and the variants by the names of their rows."""
    choices.out.parent.mkdir(parents=True, exist_ok=True)
    experiment = read_experiment(choices.preset)
    if choices.order:
        set_order(experiment, choices.order)
    if choices.protocol:
        experiment["evaluation"]["protocol"] = choices.protocol
    return experiment, read_variants(choices.variants, experiment["methods"]) if choices.variants else {}


def chosen_experiment(choices: argparse.Namespace) -> Experiment:
    """Returns the preset with the order and the methods that were chosen. A variant replaces a method of its name."""
    experiment, variants = read_choices(choices)
    rows = experiment["methods"] | {name: variant.row for name, variant in variants.items()}
    names = choices.methods or dict.fromkeys([*experiment["run"]["methods"], *variants])
    choose_methods(experiment, {name: lookup(rows, name, "--methods") for name in names})
    return experiment


def run_script(main: Callable[[], None]) -> None:
    """Calls `main`. A wrong input ends the program with its message instead of a traceback."""
    try:
        main()
    except GiftError as error:
        sys.exit(f"error: {error}")
