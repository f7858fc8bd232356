"""check: validates params.yaml and writes a fingerprint of the code of every other stage."""

from __future__ import annotations

from pathlib import Path

from .report import set_aside
from .stage import PARAMS, ROOT, Params, Root, open_stage

# Sections that a stage reads and does not have as DVC parameters, because the models that it depends on stand for them.
# Their defaults count all the same: evaluate chooses the model of a task by `start` and `learns`.
READ = {"evaluate": ["methods"]}


def check(params: Params = PARAMS, root: Root = ROOT) -> None:
    """Check params.yaml, and write what each stage depends on of the code: data/code/<stage>.json.

    DVC runs this stage first. An error in params.yaml stops here, before any
    result is removed. Accuracies and predictions of methods and tasks that were
    taken back are moved to .gift/taken_back.

    Example: gift check
    """
    with open_stage("check", params, root) as stage:
        from gift_core.artifacts.contract import write_json
        from gift_core.config.checks import require_task
        from gift_core.fingerprint import CodeBase, fingerprints
        from gift_core.layout import Layout
        from gift_core.shipped import pipeline_root
        from gift_core.stage_graph import read_blocks
        from gift_core.team.raw_data import missing_raw_data

        require_task(stage.config, params.name)
        set_aside(stage, params)
        code = CodeBase.that_runs(Path(__file__).resolve().parent)
        params_of = {
            block.name: [*block.params, *READ.get(block.name, [])]
            for block in read_blocks(pipeline_root(root))
            if Layout(Path()).code(block.name).as_posix() in block.deps  # a project may have stages of its own
        }
        for name, fingerprint in fingerprints(code, params_of).items():
            write_json(stage.layout.code(name), fingerprint)
        stage.say(f"{params} is valid; fingerprints of {len(params_of)} stages")
        for note in missing_raw_data(root, stage.config.tasks):
            stage.say(note)
