"""data status, data fetch, data verify: the raw data sets of the published benchmarks."""

from __future__ import annotations

import typer

from stages.data_fetch import fetch
from stages.data_status import status
from stages.data_verify import verify

data = typer.Typer(
    help="The data sets of the published benchmarks: what is there, how to get the rest, and whether it is whole.",
    no_args_is_help=True,
)
for command in (status, fetch, verify):
    data.command(command.__name__)(command)
