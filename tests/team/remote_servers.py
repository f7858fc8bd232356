"""Servers that speak the protocols of remotes, on free ports: S3, which can fail in many ways, SSH, GCS, Azure."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

KEYS = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it speaks gRPC, which the server here does not
}  # fmt: skip
ERRORS = {
    "503": ("503 Slow Down", "SlowDown"),
    "expired": ("400 Bad Request", "ExpiredToken"),
    "denied": ("403 Forbidden", "AccessDenied"),
}
Fault = Callable[[str, str, int], bool]  # of the method, the path with its query, and the number of the request


class S3:
    """moto's server. `failing` makes some requests fail, and `latency` delays each by so many seconds."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app  # type: ignore[attr-defined]
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._kind, self._fails, self.requests, self.latency = "", lambda *request: False, 0, 0.0
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def bucket(self, name: str) -> Any:
        """Returns boto3's bucket of this name, which is made if it is not there."""
        import boto3  # type: ignore[import-untyped]

        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        return boto3.resource("s3", endpoint_url=self.url, **keys).create_bucket(Bucket=name)

    @contextmanager
    def failing(self, kind: str, fails: Fault) -> Iterator[None]:
        """Inside, the requests of `fails` get an error of ERRORS, are `cut`, or get a `short` or `other` content."""
        self._kind, self._fails, self.requests = kind, fails, 0
        try:
            yield
        finally:
            self._fails = lambda *request: False

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests += 1
        time.sleep(self.latency)
        method, size = environ["REQUEST_METHOD"], int(environ.get("CONTENT_LENGTH") or 0)
        if not self._fails(method, f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}", self.requests):
            return self._moto(environ, start)  # type: ignore[no-any-return]
        if self._kind in ERRORS:
            environ["wsgi.input"].read(size)
            status, code = ERRORS[self._kind]
            body = b"" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        if method == "PUT":  # cut
            environ["wsgi.input"].read(size // 2)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        given: list[Any] = []
        body = b"".join(self._moto(environ, lambda *answer: given.extend(answer)))
        checksum = "none" if self._kind == "other than the checksum" else "x-amz-checksum"
        left_out = ("content-length", checksum)
        headers = [each for each in given[1] if not each[0].lower().startswith(left_out)]
        changed = body[: len(body) // 2] if self._kind in ("cut", "short") else body[::-1]
        length = len(body if self._kind == "cut" else changed)
        start(given[0], [*headers, ("Content-Length", str(length)), ("Connection", "close")])
        return [changed]


def free_port() -> int:
    """Returns a port of this machine that nobody uses."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def objects_of(bucket: Any) -> dict[str, bytes]:
    """Returns {name of DVC's object: bytes}, after it is sure that each name is the MD5 of its bytes."""
    found = {}
    for each in bucket.objects.all():
        if "/files/md5/" in each.key:
            name = each.key.split("/files/md5/")[1].replace("/", "")
            found[name] = each.get()["Body"].read()
            assert hashlib.md5(found[name]).hexdigest() == name.removesuffix(".dir"), each.key
    return found


@contextmanager
def ssh_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """OpenSSH's sshd, which knows one key of the user who runs the tests. Yields its port, and the file of the key."""
    import asyncssh

    folder.mkdir()
    for name in ("key", "host"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        (folder / name).chmod(0o600)
        key.write_public_key(folder / f"{name}.pub")
    port = free_port()
    settings = (
        f"ListenAddress 127.0.0.1:{port}", f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/key.pub",
        "PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "Subsystem sftp internal-sftp",
    )  # fmt: skip
    (folder / "config").write_text("\n".join(settings), encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd of root wants this folder, which a service makes at start-up
    words = [str(shutil.which("sshd")), "-D", "-f", str(folder / "config"), "-E", str(folder / "log")]
    with subprocess.Popen(words) as process:
        try:
            for _ in range(100):
                with socket.socket() as connection:
                    if connection.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield port, folder / "key"
        finally:
            process.terminate()


@contextmanager
def gcs_server(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server of Google Cloud Storage with the bucket `team`, which also gives out tokens for a key.

    Yields its URL, and the file of the key.
    """
    import asyncssh
    from gcp_storage_emulator import server  # type: ignore[import-untyped]

    def token(request: Any, response: Any, storage: Any) -> None:
        assert b"assertion=" in request.data  # signed with the key
        response.json({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})

    folder.mkdir()
    port = free_port()
    secret = asyncssh.generate_private_key("ssh-rsa").export_private_key("pkcs8-pem").decode()
    key = {"type": "service_account", "client_email": "me@example.org", "private_key": secret}
    (folder / "key").write_text(json.dumps(key | {"token_uri": f"http://127.0.0.1:{port}/token"}), encoding="utf-8")
    server.HANDLERS = (("^/token$", {"POST": token}), *server.HANDLERS)
    threaded = patch.object(server.server, "HTTPServer", server.server.ThreadingHTTPServer)  # for several connections
    with threaded, server.create_server("127.0.0.1", port, in_memory=True, default_bucket="team"):
        yield f"http://127.0.0.1:{port}", folder / "key"


@contextmanager
def azure_server(folder: Path) -> Iterator[str]:
    """Azurite with the container `team` of its account devstoreaccount1. Yields the connection string."""
    from azure.storage.blob import ContainerClient

    port = free_port()
    words = ["azurite-blob", "--silent", "--skipApiVersionCheck", "--blobPort", f"{port}", "--location", str(folder)]
    # the key of every emulator, from the documentation of Azurite
    secret = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    account = f"AccountName=devstoreaccount1;AccountKey={secret}"
    connection = f"{account};BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
    with subprocess.Popen(words) as process:
        try:
            ContainerClient.from_connection_string(connection, "team", retry_total=10).create_container()
            yield connection
        finally:
            process.terminate()
