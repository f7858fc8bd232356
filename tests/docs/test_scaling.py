"""docs/scaling.md: its files parse, and what it says about commands, resources and files is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from typer.main import get_command

from stages.app import app
from tests.clone import write_program
from tests.imports import ROOT

PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_the_page_has_every_option_of_gift_run() -> None:
    """That those of the page exist: test_pages.py."""
    command = get_command(app).commands["run"]  # type: ignore[attr-defined]
    options = {option for param in command.params for option in param.opts if option.startswith("--")}
    assert not {option for option in options if f"`{option}" not in PAGE and f"{option}`" not in PAGE}


def test_the_slurm_script_starts_ray_on_all_nodes_and_gift_run_on_the_first(tmp_path: Path) -> None:
    (script,) = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "gift.sbatch").write_text(script)
    subprocess.run(["bash", "-n", "gift.sbatch"], cwd=tmp_path, check=True)
    stand_ins = {"srun": 'shift\nexec "$@"', "ray": 'echo "$@"', "scontrol": "printf 'one\\ntwo\\n'"}
    for name, text in stand_ins.items():
        write_program(tmp_path / name, text)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_NODELIST": "one,two",
        "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "32",
    }  # fmt: skip
    done = subprocess.run(["bash", "gift.sbatch"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    started, command = done.stdout.strip().split(" -- ")
    assert command == "gift run --address auto"
    assert started.split()[:5] == ["symmetric-run", "--address", "one:6379", "--min-nodes", "2"]
