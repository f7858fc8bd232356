"""The hub: what its cache holds, whether it answers, and what is said where neither helps."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from gift_core.doctor.hub import hub_answers, in_cache, to_be_fetched


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers, but with an error, as a hub does that wants a login."""

    def do_HEAD(self) -> None:
        self.send_error(401)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    hub = http.server.HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{hub.server_port}"
    hub.shutdown()
    hub.server_close()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def cached(folder: Path, repository: str, name: str, *, commit: str = "c0ffee") -> Path:
    """A file in the hub's cache, laid out as huggingface_hub does."""
    place = folder / f"models--{repository.replace('/', '--')}"
    file = place / "snapshots" / commit / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}", encoding="utf-8")
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(commit, encoding="utf-8")
    return file


def test_an_error_is_an_answer(server: str) -> None:
    assert hub_answers(server, 5.0)


def test_a_server_that_says_nothing_is_given_up_in_time(silent_server: str) -> None:
    start = time.monotonic()
    assert not hub_answers(silent_server, 0.3)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://no-such-host.invalid", "no address"])
def test_where_nothing_is_nothing_answers(address: str) -> None:
    assert not hub_answers(address, 2.0)


def test_the_cache_is_asked_for_the_first_file_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert in_cache("who/what", ("a", "b")) is None
    file = cached(tmp_path, "who/what", "b")
    assert in_cache("who/what", ("a", "b")) == file
    assert in_cache("who/what", ("b",), revision="c0ffee") == file
    assert in_cache("who/what", ("b",), revision="another") is None


def test_offline_what_is_missing_is_a_fail_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    finding = to_be_fetched("model", "who/what", by_hand="put it there")
    assert (finding.mark, finding.subject) == ("fail", "model")
    assert "HF_HUB_OFFLINE" in finding.found
    assert finding.remedy == "Unset them for the first run, or put it there."


def test_with_a_hub_that_answers_it_will_be_fetched(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server)
    assert to_be_fetched("model", "who/what", by_hand="").mark == "ok"


def test_a_hub_that_does_not_answer_is_a_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:2")
    finding = to_be_fetched("model", "who/what", by_hand="put it there")
    assert (finding.mark, "does not answer" in finding.found) == ("fail", True)
    assert "put it there" in finding.remedy
