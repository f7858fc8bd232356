"""compare ROOT..., compare --seeds N: runs of an experiment with several seeds, and what exceeds the noise.

With --seeds the runs are made first. Each seed has a DVC project of its own in .gift/seeds: its params.yaml and its
results, links to the code and the raw data, and the project's cache. So a stage that does not depend on the seed runs
once, and DVC continues a run that was interrupted.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gift_core.errors import UserError, lookup
from gift_core.quantities import duration, plural

from ..command_line import PLAIN, AsJson, hint, note, print_json, print_table, require_new
from ..options import PARAMS, Params, argument, chosen_names, flag, option
from .models import store_alpha_curves
from .show import PaperFormat

if TYPE_CHECKING:
    from gift_core.report.comparison.runs_by_seed import Comparison

SEEDS = Path(".gift", "seeds")


def compare(
    roots: list[Path] | None = argument(
        "ROOT", "Root folders of finished runs, which contain params.yaml and data/.", default=None
    ),
    seeds: str | None = option(
        "N", "First run the experiment with N seeds, from that of params.yaml on. 4,5,6: with these."
    ),
    methods: str | None = option("NAMES", "Only these: finetune,gift (default: all of run.methods)."),
    out: Path = option(
        "FOLDER",
        "The folder to write: index.html, figures (SVG), comparison.csv, comparison.json.",
        default=Path("reports/comparison"),
    ),
    against: str | None = option("METHOD", "The method to compare with (default: the one with the highest Last)."),
    allow_missing: bool = flag("--allow-missing", "Also compare methods without results for some seeds."),
    over_alpha: bool = flag("--over-alpha", "Also test each method's last model at several alphas, unless stored."),
    output: PaperFormat = None,
    as_json: AsJson = False,
    params: Params = PARAMS,
) -> None:
    """Compare runs of an experiment with different seeds: means, deviations, and differences that exceed the noise.

    Name the folders of finished runs, or have them made with --seeds: each has
    another seed and generator.seed, and its own folder in .gift/seeds. Stages that
    do not depend on the seed run once. An interrupted comparison continues.
    --format prints the table of a paper: Transfer, Avg and Last by task.

    Example: gift compare --seeds 3 --methods finetune,gift --against gift
    """
    from gift_core.report.comparison.compare import PAGE, RECORD, TABLE, write_comparison
    from gift_core.report.comparison.figures import FOLDER
    from gift_core.report.comparison.paper_table import table_of_runs
    from gift_core.report.comparison.runs_by_seed import read_runs
    from gift_core.untrusted import read_json_file

    if (seeds is None) == (not roots):
        raise typer.BadParameter("Name either the folders of finished runs, or --seeds 3, which makes them.")
    require_new(out, made=(TABLE, RECORD, PAGE, FOLDER))
    names = methods.split(",") if methods else None
    folders = roots or []
    if seeds is not None:
        folders = run_seeds(seeds, params, methods=methods, against=against)
    if over_alpha:
        store_alpha_curves(folders, names)
    comparison = read_runs(folders, methods=names, against=against, allow_missing=allow_missing)
    write_comparison(comparison, out)
    if comparison.published and comparison.published.withheld:
        reasons = "; ".join(comparison.published.withheld)
        note(f"note: published rows of {comparison.published.benchmark.title} are not shown: {reasons}")
    page = (out / PAGE).resolve()
    if as_json:
        print_json(read_json_file(out / RECORD))
    elif output is not None:
        typer.echo(table_of_runs(comparison).text(output), nl=False)
        note(f"The comparison: {page}")
    else:
        print_comparison(comparison)
        typer.echo(f"The comparison: {page}")


def run_seeds(text: str, params: Path, *, methods: str | None, against: str | None) -> list[Path]:
    """Runs the methods of a params file with each seed, one after another. Returns the folders with the results.

    `text` is the number of seeds, from that of the params file on, or their list: 3, or 4,5,6. The seed of params.yaml
    runs in the project itself. UserError where a stage fails, and before any runs for a name that is unknown.
    """
    import yaml

    from gift_core.config.checks import require_task
    from gift_core.config.loading import parse_config
    from gift_core.config.presets import complete_text
    from gift_core.method.metrics import ZERO_SHOT
    from gift_core.untrusted import parse_yaml

    from ..dvc.fork_server import serving
    from ..dvc.own_project import write_project
    from ..dvc.pipeline import repro

    complete = complete_text(params)
    config = parse_config(complete, params.name)
    require_task(config, params.name)
    names = chosen_names(methods, config.run.methods, "--methods")
    if against is not None:
        lookup(dict.fromkeys((ZERO_SHOT, *names)), against, "--against")
    seeds = seeds_of(text, config.seed)
    values = parse_yaml(complete)
    roots = dict[int, Path]()
    for seed in seeds:
        if seed == config.seed and params == PARAMS:
            roots[seed] = Path()
            continue
        of_seed = values | {"seed": seed, "generator": values["generator"] | {"seed": seed}}
        roots[seed] = SEEDS / str(seed)
        write_project(roots[seed], yaml.safe_dump(of_seed, sort_keys=False), config, shares_cache=True)
    note(f"{plural(len(names), 'method')}, {plural(len(seeds), 'seed')}: {', '.join(map(str, seeds))}")
    targets = [f"evaluate@{name}-step{len(config.sequence) - 1}" for name in names]
    with serving(os.environ) as environment:
        for seed, root in roots.items():
            started = time.monotonic()
            note(f"seed {seed}, in {root.resolve()}")
            if repro(root, *targets, environment=environment) != 0:
                raise UserError(
                    f"gift compare: the run in {root.resolve()} failed, its message is above. Correct the cause, and "
                    "run this again: it continues from here."
                )
            note(f"seed {seed}: {duration(time.monotonic() - started)}")
    return list(roots.values())


def seeds_of(text: str, first: int) -> tuple[int, ...]:
    """Returns the seeds that `3` (from `first` on) or the list `4,5,6` stands for. BadParameter for other texts."""
    numbers = text.removesuffix(",").split(",")
    if not all(re.fullmatch(r"[0-9]{1,18}", number) for number in numbers) or text == "0":
        raise typer.BadParameter(f"--seeds {text}: expected how many, such as 3, or a list, such as 4,5,6.")
    return tuple(map(int, dict.fromkeys(numbers))) if "," in text else tuple(range(first, first + int(text)))


def print_comparison(comparison: Comparison) -> None:
    """Prints a row for each method: means with deviations over the seeds, and differences to the one compared with.

    Below it what is missing, and what alpha gives and takes where that was tested.
    """
    from gift_core.report.comparison.compare import curve_sentences
    from gift_core.report.comparison.paper_table import table_of_runs
    from gift_core.report.labels import COLUMN_TITLES, number, signed

    columns, probes = comparison.columns, "probes" in comparison.columns
    compared = ("last", "probes") if probes else ("last",)
    shown = [column for column in columns if not probes or column != "own"]  # within 80 columns; the page has it
    deltas = {"last": "Δ Last", "probes": "Δ kept"}
    over = ", ".join(map(str, comparison.seeds)) + comparison.config.evaluation.protocol.in_title
    title = f"Percent over seeds {over}. Δ: difference to {comparison.label(comparison.against)}, ≈ within the noise"
    headings = [*(COLUMN_TITLES[column] for column in shown), *(deltas[column] for column in compared)]
    headings = [heading.replace("-shot ", "-shot\n") for heading in headings]
    rows: list[list[str]] = []
    titles = []
    for group, methods in comparison.groups.items():
        titles.append(len(rows))
        rows.append([group])
        for method in methods:
            scores = comparison.scores[method]
            label = comparison.label(method)
            count, total = len(scores[columns[-1]]), len(comparison.seeds)
            cells = [label if count == total else f"{label} ({count} of {total} seeds)"]
            for by_seed in map(scores.get, shown):
                deviation = f"±{number(by_seed.std())}" if by_seed is not None and len(by_seed) > 1 else ""
                cells.append(number(None if by_seed is None else by_seed.mean()) + deviation)
            for column in compared:
                difference = table_of_runs(comparison).differences.get(method, {}).get(column)
                noise = "≈" if difference and difference.verdict(column) == "noise" else ""
                cells.append(noise + signed(difference.mean) if difference else "")
            rows.append(cells)
    whole = [*headings, *([] if probes else [""])]
    print_table(("", *headings), rows, title=title, bold=titles, left=1, whole=whole, **PLAIN)
    for seed, method in comparison.missing:
        typer.echo(f"missing: {method} with seed {seed}")
    if len(comparison.seeds) == 1:
        hint("One seed: there is no spread, so no difference can be distinguished from noise.")
    for sentence in curve_sentences(comparison):
        typer.echo(sentence)
