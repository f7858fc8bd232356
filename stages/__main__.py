"""`python -m stages NAME`, installed as `gift`: every stage of the pipeline, and what people ask it for."""

from __future__ import annotations

from collections.abc import Callable

import typer

from stages.cells import GiftGroup
from stages.compare import compare
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.import_model import import_model
from stages.ingest import ingest
from stages.metrics import metrics
from stages.report import report
from stages.show import show
from stages.synthesize import synthesize
from stages.teach import teach
from stages.use import use
from stages.write_prompts import write_prompts
from stages.write_vocabulary import write_vocabulary

app = typer.Typer(
    cls=GiftGroup,
    name="gift",
    help="Vision-language models that keep learning without forgetting. `dvc repro` runs these stages in their order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Stages of dvc.yaml": (
        import_model,
        ingest,
        write_vocabulary,
        write_prompts,
        synthesize,
        teach,
        finetune,
        evaluate,
        report,
    ),
    "For people": (show, metrics, compare, use),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(command.__name__, rich_help_panel=panel)(command)


def main() -> None:
    """The console command `gift`."""
    app()


if __name__ == "__main__":
    main()
