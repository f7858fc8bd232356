"""A server of files, which speaks those endpoints of the hub that huggingface_hub calls to read data sets."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.artifacts.damage import png

COMMIT, OF_BRANCH = "c0ffee" * 6 + "c0ff", "decade" * 6 + "deca"


class Hub(ThreadingHTTPServer):
    """Serves the files in `folder`, and the folders user/name below as repositories; user/name@ is another branch.

    It breaks off in the middle of `broken`, changes the first byte of each file if `lies`, and refuses files of the
    repositories `gated` to everyone without a token. `asked` are the files that were asked for, `starts` the positions
    at which a download was continued, where the server `continues`.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.broken = folder, ""
        self.lies = False
        self.gated, self.asked, self.starts, self.continues = set[str](), list[str](), list[int](), True
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        found = re.fullmatch(r"(?:/api)?/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info|resolve)/(.+))?", path)
        if found is None:
            file = self.server.folder / path.lstrip("/")
            if file.is_file():
                self._send_file(file, COMMIT)
            else:
                self._send(404 if file.suffix else 200, b"{}")
            return
        name, kind, rest = found[1], found[2] or "revision", found[3] or "main"
        revision, _, file = rest.partition("/") if rest.startswith((COMMIT, OF_BRANCH)) else (rest, "", "")
        branch = "" if revision in ("main", COMMIT) else "@" if revision in (OF_BRANCH, "refs/convert/parquet") else "?"
        folder, commit = self.server.folder / f"{name}{branch}", OF_BRANCH if branch else COMMIT
        if not folder.is_dir():
            code = "RevisionNotFound" if (self.server.folder / name).is_dir() else "RepoNotFound"
            self._send(404, b"{}", **{"X-Error-Code": code})
        elif kind == "resolve" and name in self.server.gated and self.headers.get("Authorization") != "Bearer token":
            self._send(403, b"{}", **{"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        elif kind == "resolve":
            self._send_file(folder / file, commit)
        else:
            files = {each.relative_to(folder).as_posix(): each for each in sorted(folder.rglob("*")) if each.is_file()}
            entries = [facts(each, name) for name, each in files.items() if name.startswith(file)]  # of a folder
            if kind == "revision":
                siblings = [{"rfilename": e["path"], "size": e["size"], "lfs": e.get("lfs")} for e in entries]
                self._send(200, json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode())
            else:
                self._send(200, json.dumps(entries).encode())

    do_HEAD = do_GET

    def _send_file(self, file: Path, commit: str) -> None:
        data = file.read_bytes()
        if self.server.lies:
            data = b"X" + data[1:]
        wanted = self.headers.get("Range") if self.server.continues else None
        start, _, end = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(start) : int(end) + 1 if end else None]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest}"', "Content-Length": str(len(part))}
        if self.command == "GET":
            self.server.asked.append(file.name)
        if wanted:
            self.server.starts.append(int(start))
            headers["Content-Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
        self.close_connection = is_broken = file.name == self.server.broken
        self._send(206 if wanted else 200, part[: len(part) // 2] if is_broken else part, **headers)

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)


def facts(file: Path, name: str) -> dict[str, Any]:
    """What the hub's API says of a file. Cards are no LFS files."""
    size, digest = file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()
    lfs = {} if name.endswith(".md") else {"lfs": {"oid": digest, "sha256": digest, "size": size, "pointerSize": 100}}
    return {"type": "file", "path": name, "size": size, "oid": digest[:40], **lfs}


def repository(folder: Path, columns: dict[str, Any], *, parts: int = 2) -> None:
    """Writes a repository as `push_to_hub` does: 12 training images in several files, and 6 test images. n is png(n).

    `columns`: {name: (values that take turns, their type)}.
    """
    import datasets

    for split, numbers in (("train", range(12)), ("test", range(12, 18))):
        rows = {"image": [{"bytes": png(each)} for each in numbers]}
        rows |= {name: [value[each % len(value)] for each in numbers] for name, (value, _) in columns.items()}
        features = {"image": datasets.Image(), **{name: kind for name, (_, kind) in columns.items()}}
        whole = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
        count = parts if split == "train" else 1
        for part in range(count):
            file = folder / "data" / f"{split}-{part:05d}-of-{count:05d}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            whole.shard(count, part).to_parquet(file, batch_size=3)


@contextmanager
def serve(folder: Path, cache: Path, patch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Starts the server, and lets huggingface_hub use it instead of the hub."""
    from huggingface_hub import HfFileSystem, constants

    with Hub(folder) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        settings = {"ENDPOINT": hub.url, "HF_HUB_OFFLINE": False, "HF_HUB_CACHE": str(cache)}
        settings["HUGGINGFACE_CO_URL_TEMPLATE"] = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for key, value in settings.items():
            patch.setattr(constants, key, value)
        HfFileSystem.clear_instance_cache()
        yield hub
        hub.shutdown()
