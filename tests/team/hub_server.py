"""A stand-in for the Hugging Face hub on this machine: repositories in memory, by the requests of huggingface_hub."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit|branch|revision|tree)/([^/]+)")
_FOLDER = re.compile(rf"{_API.pattern}/.+")  # below a revision. No test has one there
_FILE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def commit_of(repository: str) -> str:
    """The newest commit of a branch, which is named like user/name@branch."""
    return hashlib.sha1(repository.encode()).hexdigest()


class HubServer(ThreadingHTTPServer):
    """`files`: {"models/user/name@revision": {path: bytes}}. `tokens`: what was sent as authorization.

    It refuses every request for a repository whose name contains "denied".
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.created: list[dict[str, Any]] = []
        self.tokens: set[str] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path)
        if not self._allowed(body):
            return
        if path == "/api/repos/create":
            wanted = json.loads(body)
            self.server.created.append(wanted)
            folder = "datasets/" if wanted.get("type") == "dataset" else ""
            self._answer({"url": f"{self.server.address}/{folder}{wanted['organization']}/{wanted['name']}"})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif found := _API.fullmatch(path):
            kind, name, action, revision = found.groups()
            getattr(self, f"_{action}")(f"{kind}/{name}@{revision}", body)
        else:
            self._answer({"error": path}, 404)

    def _preupload(self, repository: str, body: bytes) -> None:
        files = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(body)["files"]]
        self._answer({"files": [{**each, "shouldIgnore": False} for each in files]})

    def _branch(self, repository: str, body: bytes) -> None:
        self.server.files.setdefault(repository, {})
        self._answer({})

    def _commit(self, repository: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        files = [line["value"] for line in lines if line["key"] == "file"]
        stored = self.server.files.setdefault(repository, {})
        stored |= {each["path"]: base64.b64decode(each["content"]) for each in files}
        commit = commit_of(repository)
        name = repository.removeprefix("models/").partition("@")[0]
        self._answer({"commitUrl": f"{self.server.address}/{name}/commit/{commit}", "commitOid": commit})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if not self._allowed():
            return
        if found := _FILE.fullmatch(path):
            kind, name, revision, file = found.groups()
            repository, files = self._stored(kind or "models", name, revision)
            if file in files:
                etag = hashlib.sha1(files[file]).hexdigest()
                self._send(files[file], 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit_of(repository)})
            else:
                self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        elif (found := _API.fullmatch(path)) and self._stored(*found.groups()[:2], found[4])[0]:
            kind, name, action, revision = found.groups()
            repository, files = self._stored(kind, name, revision)
            if action == "tree":
                self._answer([{"type": "file", "path": each, "size": len(files[each]), "oid": "0"} for each in files])
            else:
                information = {"_id": "0", "id": name, "sha": commit_of(repository), "private": False, "tags": []}
                siblings = [{"rfilename": each} for each in files]
                self._answer({**information, "siblings": siblings, "downloads": 0, "likes": 0})
        elif _FOLDER.fullmatch(path):
            self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        else:
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def _stored(self, kind: str, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        """The repository at a branch or commit, and its files. An empty name if there is none."""
        for repository, files in self.server.files.items():
            if repository == f"{kind}/{name}@{revision}" or commit_of(repository) == revision:
                return repository, files
        return "", {}

    def _allowed(self, body: bytes = b"") -> bool:
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if denied := b"denied" in self.path.encode() + body:
            self._answer({"error": "Invalid user token."}, 401)
        return not denied

    def _answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass
