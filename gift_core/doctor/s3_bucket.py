"""Whether a bucket answers with the address and the credentials that DVC will use: S3, and servers that speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gift_core.doctor.finding import Finding

SECONDS = 5.0  # for a connection, and for an answer. It tries twice
RIGHTS = "DVC needs s3:ListBucket and s3:GetObject, to share s3:PutObject, and to heal s3:DeleteObject"
OTHER_SERVER = "For a server that is not AWS's: make remote URL=... ENDPOINT=https://..."
KEYS = (
    "Next: aws configure (then --profile NAME if it is not the default), or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
REMEDIES = {  # by what the server's error code contains
    "NoSuchBucket": "Create it, or correct the name: gift remote URL",
    "AccessDenied": f"{RIGHTS}. Ask the owner of the bucket for these rights, or use another key: --profile NAME",
    "InvalidAccessKeyId": f"The server does not know this key. {KEYS}",
    "SignatureDoesNotMatch": f"The secret does not fit the key. {KEYS}",
    "Token": "The credentials are too old. Renew them (aws sso login, or new keys), then run this again",
    "RequestTimeTooSkewed": "The clock of this machine is wrong",
}


def check_bucket(name: str, settings: Mapping[str, str]) -> Finding:
    """Returns whether the S3 remote `name` can be listed, else what was tried and what to do next.

    `settings` are DVC's: {"remote.store.url": "s3://bucket/gift", "remote.store.endpointurl": ...}.
    """
    start = f"remote.{name}."
    own = {key.removeprefix(start): value for key, value in settings.items() if key.startswith(start)}
    at = f"{name} ({own['url']})"
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        what = f"{at} needs a package that is not installed"
        return Finding("dvc remote", "fail", what, "Run: make setup EXTRAS=s3")
    tried = ""
    try:
        client, credentials = _client(own)
        tried = f": tried {client.meta.endpoint_url} with {credentials}"
        bucket, _, prefix = own["url"].removeprefix("s3://").partition("/")
        answer = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix.rstrip('/')}/".lstrip("/"), MaxKeys=1)
    except ClientError as error:
        remedy = next((remedy for code, remedy in REMEDIES.items() if code in error.response["Error"]["Code"]), "")
        if region := error.response["Error"].get("Region"):
            remedy = f"Next: gift remote {own['url']} --region {region}"
        is_aws = ".amazonaws.com" in tried
        return _failed(at + tried, error, f"{remedy}. {OTHER_SERVER}" if is_aws and remedy else remedy)
    except BotoCoreError as error:
        no_keys = "credential" in type(error).__name__.lower() or "profile" in type(error).__name__.lower()
        return _failed(at + tried, error, KEYS if no_keys else f"Is the server running? {OTHER_SERVER}")
    server = f" at {client.meta.endpoint_url}" if "endpointurl" in own else ""
    remedy = "" if answer.get("KeyCount") else "It is empty. To share results: make share"
    return Finding("dvc remote", "ok", f"{at}{server} answers", remedy)


def _client(own: Mapping[str, str]) -> tuple[Any, str]:
    """Returns a client with the settings of a remote, and where its credentials are from."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    session = Session(profile=own.get("profile"))
    for setting, variable in (("credentialpath", "credentials_file"), ("configpath", "config_file")):
        if setting in own:
            session.set_config_variable(variable, own[setting])
    options = {"connect_timeout": SECONDS, "read_timeout": SECONDS, "retries": {"total_max_attempts": 2}}
    is_public = own.get("allow_anonymous_login", "").lower() == "true"
    config = Config(**options, **({"signature_version": UNSIGNED} if is_public else {}))
    client = session.create_client(
        "s3",
        endpoint_url=own.get("endpointurl"),
        region_name=own.get("region"),
        use_ssl=own.get("use_ssl", "true").lower() != "false",
        verify=False if own.get("ssl_verify", "").lower() == "false" else own.get("ssl_verify"),
        aws_access_key_id=own.get("access_key_id"),
        aws_secret_access_key=own.get("secret_access_key"),
        aws_session_token=own.get("session_token"),
        config=config,
    )
    if is_public or "access_key_id" in own:
        return client, "no credentials" if is_public else "the key in DVC's settings"
    found = session.get_credentials()
    profile = session.get_config_variable("profile") or "default"
    where = f"credentials from {found.method}, profile {profile}" if found else f"no credentials (profile {profile})"
    return client, where


def _failed(what: str, error: Exception, remedy: str) -> Finding:
    return Finding("dvc remote", "fail", f"{what}: {' '.join(str(error).split()).rstrip('.')}", remedy)
