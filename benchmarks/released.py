"""What a release keeps of zero-shot and costs on learned tasks, by alpha. Each chain of models is trained once.

    python -m benchmarks.released --variants benchmarks/long_sequences_best.yaml --seeds 112 113 \\
        --methods finetune zscl gift gift_l2 gift_vocabulary --alphas 0.25 0.4 0.55 0.7 0.85 1

Every model of a chain is released at alpha and tested, as the stage evaluate does. The table has a row for each
method, seed and alpha: Transfer, Avg, Last, Forgetting, and the mean of the probes with its difference to
the pre-trained model. Rows that are in the table already are kept, so it can be continued.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.experiment import Run, run_all
from benchmarks.options import chosen_experiment, parser_of, run_script
from gift_core.artifacts.accuracy import PRETRAINED, read_probe
from gift_core.config.method_options import InterpolateConfig
from gift_core.method.classifier import EncodingSettings
from gift_core.method.evaluation import EvaluationInputs, evaluate_step, newest_model, own_model, with_probes
from gift_core.method.metrics import probe_scores, summarize
from gift_core.progress import progress
from gift_core.torch_devices import resolve_device
from gift_core.use.release import release_model

SHOWN = ["transfer", "avg", "last", "forgetting", "zero_shot_kept", "zero_shot_change"]
KEY = ["method", "seed", "alpha"]


def main() -> None:
    """Trains what is missing, tests every alpha, writes the table and prints the means over the seeds."""
    parser = parser_of(__doc__, seeds=(1, 2, 3), work=".gift/released", out=".gift/benchmarks/released.csv")
    parser.add_argument("--alphas", type=float, nargs="+", default=(0.25, 0.4, 0.55, 0.7, 0.85, 1.0))
    parser.add_argument("--only", nargs="+", metavar="METHOD=ALPHA", help="instead of all alphas, these and 1")
    choices = parser.parse_args()
    experiment = chosen_experiment(choices)
    runs = [Run.of(experiment, choices.work, seed=seed) for seed in choices.seeds]
    run_all(runs, workers=choices.workers)
    table = pd.read_csv(choices.out) if choices.out.is_file() else pd.DataFrame(columns=[*KEY, *SHOWN])
    present = set(table[KEY].itertuples(index=False, name=None))
    chosen = {name: [float(alpha), 1.0] for name, alpha in (each.split("=") for each in choices.only or ())}
    jobs = [
        (run.root, method, alpha)
        for run in runs
        for method in run.config.run.methods
        for alpha in chosen.get(method, choices.alphas if not chosen else [1.0])
        if (method, run.config.seed, alpha) not in present
    ]
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    with ProcessPoolExecutor(choices.workers, mp_context=get_context("spawn")) as executor:
        waiting = [executor.submit(measured, *job) for job in jobs]
        for done in progress(as_completed(waiting), len(waiting), "releases"):
            table = pd.concat([table, pd.DataFrame([done.result()])], ignore_index=True)
            table.sort_values(KEY).round(4).to_csv(choices.out, index=False)
    print(table.groupby(["method", "alpha"])[SHOWN].agg("mean").round(1).to_string())


def measured(root: Path, method: str, alpha: float) -> dict[str, Any]:
    """Returns the row of the table: the scores of the method's chain, all of its models released at alpha."""
    run = Run(root)
    layout, config, row = run.layout, run.config, run.config.methods[method]
    names = [step.task for step in config.sequence]
    settings = EncodingSettings(resolve_device("cpu"), config.model.precision, config.evaluation.batch_size)
    probes = {name: (layout.task(name), read_probe(layout.probe(name))) for name in config.evaluation.probes}
    with tempfile.TemporaryDirectory() as folder:
        models = {PRETRAINED: layout.pretrained()}
        for name in names:
            models[name] = Path(folder, method, name)
            release = None if alpha == 1 else InterpolateConfig(kind="interpolate", alpha=alpha)
            release_model(layout.model(method, name), layout.pretrained(), models[name], release)

        def rows() -> Iterator[pd.DataFrame]:
            for step in range(len(names)):
                so_far = names[: step + 1]
                inputs = EvaluationInputs(
                    method=method,
                    protocol=config.evaluation.protocol,
                    models={name: models[name] for name in (PRETRAINED, *so_far)},
                    tasks={name: layout.task(name) for name in so_far},
                    model_for=own_model if row.keeps_every_model else newest_model,
                    settings=settings,
                    previous={},
                    probes=probes,
                )
                yield with_probes(evaluate_step(inputs), inputs).rows

        summary = summarize(pd.concat(rows(), ignore_index=True))[method]
    assert summary.probes is not None, "the preset has probes"
    on_probes = probe_scores(100 * summary.probes)
    scores = {name: math.nan if value is None else value for name, value in summary.metrics.items()}
    found = {"method": method, "seed": config.seed, "alpha": alpha, **scores}
    return {**found, "zero_shot_kept": on_probes["mean"], "zero_shot_change": on_probes["change"]}


if __name__ == "__main__":
    run_script(main)
