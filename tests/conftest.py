"""What all tests share: one thread, no hub, a device, and an experiment to change."""

from __future__ import annotations

import copy
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    import torch

    from gift_core.clip.model import Clip
    from tests.clone import Clone

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported
os.environ["HF_HUB_OFFLINE"] = "1"
for name in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"):  # of `make test`, not of the makes that the tests run
    os.environ.pop(name, None)
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # the same sums each time; read when CUDA starts

PROJECT = Path(__file__).resolve().parents[1]
# The layer of a test is decided here. `make test` leaves out what costs much and says little while one works:
# crashes, clusters, documents, browsers, bad input, benchmarks, every command in every way. `make test-all` runs it.
THOROUGH = re.compile(
    r"""tests/(
    benchmarks/ | docs/ | hostile/ | interruption/ | presets/ | team/ | tracking/
    | clip/test_architectures
    | datasets/test_hub\.py::test_(a_label_without|hostile)
    | doctor/test_storage
    | execution/test_(cluster|run_with_helpers)
    | end_to_end/test_(changes|versions|wheel|pipeline\.py::test_two_workers)
    | interop/test_exporting
    | report/test_(compare|published_results)
    | stages/test_(hub_tasks|pair_tasks\.py::test_pairs|processes|run)
    | code/test_forgotten | method/test_golden_losses
    | driving/test_data_parallel | work/test_spread
    )""",
    re.VERBOSE,
)
CENTRAL = (  # of these, one of each stays in `make test`
    "tests/docs/test_pages.py",  # an edit of a page alone can break it
    "tests/end_to_end/test_changes.py::test_a_changed_loss_weight_runs_only_that_method_and_undoing_it_runs_nothing",
    "tests/end_to_end/test_wheel.py::test_every_stage_runs_in_a_project_without_code",
    "tests/stages/test_hub_tasks.py::test_a_name_becomes_a_task_and_is_read_without_a_network",
    "tests/stages/test_run_command.py::test_it_writes_the_lock_file_of_dvc_repro",
    "tests/team/test_remotes.py::test_what_is_damaged_is_named_and_the_rest_is_pulled",
)
# Processor seconds of a test outside of that layer. The longest take 24 and 7 on a quiet machine.
END_TO_END_BUDGET, BUDGET = 180.0, 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """--device: where the tests marked gpu compute. --part: which share of the test files runs."""
    parser.addoption(
        "--device", default="cuda", help="device of the tests marked gpu: cuda, cuda:1, or cpu to try them anywhere"
    )
    parser.addoption("--part", default="1/1", help="2/3: the second third of the test files, every third of their list")


def pytest_configure() -> None:
    """Lets Ctrl-C and a closed terminal reach what tests start, also where these tests are a background job.

    Such a job ignores both signals, and so would its children: only a handler is not inherited. This one does nothing,
    so that this process still ignores them.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out a file whose tests are all thorough, where those do not run: what it imports takes seconds."""
    name = collection_path.relative_to(PROJECT).as_posix()
    is_thorough = name.endswith(".py") and THOROUGH.match(name) and not any(each.startswith(name) for each in CENTRAL)
    return True if is_thorough and "not thorough" in config.option.markexpr else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Gives each test its layer, takes the part that was asked for, and sorts so that no process waits for another.

    The first file with end-to-end tests runs the experiment that all of them share. The others come when it is there.
    """
    for item in items:
        is_thorough = THOROUGH.match(item.nodeid) and not item.nodeid.startswith(CENTRAL)
        if is_thorough or item.get_closest_marker("browser"):
            item.add_marker("thorough")
    part, parts = map(int, config.getoption("--part").split("/"))
    files = sorted({item.path for item in items if item.get_closest_marker("thorough")})
    left_out = {*files} - {*files[part - 1 :: parts]}
    items[:] = [item for item in items if item.path not in left_out]
    yield  # here pytest selects by markers and sorts by fixtures
    long = {item.path: "first_result" in item.fixturenames for item in items if item.get_closest_marker("end_to_end")}
    first = next((path for path, is_shared in sorted(long.items()) if is_shared), None)
    short = [item for item in items if item.path not in long]
    later = [item for item in items if item.path in long and item.path != first]
    half = len(short) // 2
    items[:] = [item for item in items if item.path == first] + short[:half] + later + short[half:]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails a test of `make test` that takes more than its budget, its child processes included."""
    before = sum(os.times()[:4])
    result = yield
    seconds = sum(os.times()[:4]) - before
    budget = END_TO_END_BUDGET if item.get_closest_marker("end_to_end") else BUDGET
    layers = {mark.name for mark in item.iter_markers()} & {"thorough", "slow", "gpu"}
    if seconds > budget and not layers:
        pytest.fail(f"it took {seconds:.0f} processor seconds of {budget:.0f}: make it smaller, or mark it thorough")
    return result


@pytest.fixture(scope="session")
def gpu(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The device of the option --device.

    TF32 is off, as in every stage. On CUDA, most sums have a fixed order, so that a test can compare bits.
    """
    import torch

    from gift_core.torch_devices import set_up_device

    name = request.config.getoption("--device")
    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device; --device cpu runs the same test on the CPU")
    chosen = set_up_device(name)
    torch.use_deterministic_algorithms(chosen.type == "cuda", warn_only=True)
    yield chosen
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session", params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and in a second run marked gpu the device of the option --device."""
    import torch

    return request.getfixturevalue("gpu") if request.param == "gpu" else torch.device("cpu")


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture
def every_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot of unfinished work is written: each is due at once."""
    monkeypatch.setattr("gift_core.driving.training.INTERVAL", 0.0)
    monkeypatch.setattr("gift_core.work.resumable.INTERVAL", 0.0)


@pytest.fixture
def one_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All models that are loaded share one tokenizer, because building it takes longer than everything else."""
    from tests.clip.tiny import TOKENIZER

    monkeypatch.setattr("open_clip.get_tokenizer", lambda name: TOKENIZER)


@pytest.fixture(scope="session")
def mini() -> Clip:
    """The miniature's model: context 20, vocabulary 1,638; its tokenizer pads with the end token, 1637."""
    import torch

    from gift_core.clip.model import open_folder

    return open_folder(PROJECT / "data" / "mini" / "clip", device=torch.device("cpu"))


@pytest.fixture(scope="session")
def first_result(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of the finished small experiment, tests/clone.py. All processes of the tests share it: copy it."""
    from filelock import FileLock

    from tests.clone import finished_experiment

    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "first_result"
    with FileLock(f"{folder}.lock"):  # the first process that needs it runs it, the others wait
        if not folder.exists():
            finished_experiment(folder.with_name("unfinished"))
            folder.with_name("unfinished").rename(folder)
    return folder


@pytest.fixture(scope="module")
def clone(first_result: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of the small experiment for a file of tests that change it."""
    from tests.clone import copy_of

    return copy_of(first_result / "gift", tmp_path_factory.mktemp("clone") / "gift")


@pytest.fixture(scope="session")
def _mini_params() -> dict[str, Any]:
    from tests.imports import with_all_methods

    return with_all_methods(yaml.safe_load((PROJECT / "presets" / "mini.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def mini_params(_mini_params: dict[str, Any]) -> dict[str, Any]:
    """presets/mini.yaml with all methods of the catalogue, as a dictionary of one's own, to change."""
    return copy.deepcopy(_mini_params)


@pytest.fixture
def mini_project(tmp_path: Path) -> Path:
    """A folder with the presets, and mini as its params.yaml."""
    shutil.copytree(PROJECT / "presets", tmp_path / "presets")
    shutil.copy(PROJECT / "presets" / "mini.yaml", tmp_path / "params.yaml")
    return tmp_path


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes a dictionary as tmp_path/params.yaml and returns the path."""

    def write(params: dict[str, Any]) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        return path

    return write
