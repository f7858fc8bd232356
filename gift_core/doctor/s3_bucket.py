"""Whether a bucket answers with the address and the credentials that DVC will use: S3, and servers that speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gift_core.doctor.finding import Finding

SECONDS = 5.0  # for a connection, and for an answer. It tries twice
OTHER_SERVER = "For a server that is not AWS's: make remote URL=... ENDPOINT=https://..."
KEYS = "Next: aws configure, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile: --profile NAME"
RIGHTS = "DVC needs s3:ListBucket and s3:GetObject, to share s3:PutObject, and to heal s3:DeleteObject"
REMEDIES = {  # by what the server's error code contains
    "NoSuchBucket": "Create it, or correct the name: gift remote URL",
    "AccessDenied": f"{RIGHTS}. Ask the owner of the bucket for them, or name another profile: --profile NAME",
    "InvalidAccessKeyId": f"The server does not know this key. {KEYS}",
    "SignatureDoesNotMatch": f"The secret does not fit the key. {KEYS}",
    "Token": "The credentials are too old. Renew them (aws sso login, or new keys), then run this again",
}


def check_bucket(name: str, settings: Mapping[str, str]) -> Finding:
    """Returns whether the S3 remote `name` can be listed, else what was tried and what to do next.

    `settings` are DVC's: {"remote.store.url": "s3://bucket/gift", "remote.store.endpointurl": ...}.
    """
    start = f"remote.{name}."
    own = {key.removeprefix(start): value for key, value in settings.items() if key.startswith(start)}
    what, remedy = f"{name} ({own['url']})", ""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        missing = "needs a package that is not installed"
        return Finding("dvc remote", "fail", f"{what} {missing}", "Run: make setup EXTRAS=s3")
    try:
        client, credentials = _client(own)
        server = client.meta.endpoint_url
        what += f": tried {server} with {credentials}"
        bucket, _, prefix = own["url"].removeprefix("s3://").partition("/")
        answer = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix.rstrip('/')}/".lstrip("/"), MaxKeys=1)
        where = f"{name} ({own['url']}{f' at {server}' if 'endpointurl' in own else ''})"
        remedy = "" if answer.get("KeyCount") else "It is empty. To share results: make share"
        return Finding("dvc remote", "ok", f"{where} answers", remedy)
    except ClientError as error:
        reason, details = error, error.response["Error"]
        remedy = next((remedy for code, remedy in REMEDIES.items() if code in details["Code"]), "")
        if region := details.get("Region"):
            remedy = f"Next: gift remote {own['url']} --region {region}"
        elif ".amazonaws.com" in what and remedy:
            remedy += f". {OTHER_SERVER}"
    except BotoCoreError as error:
        kind, reason = type(error).__name__, error
        remedy = KEYS if "Credential" in kind or "Profile" in kind else f"Is the server running? {OTHER_SERVER}"
    return Finding("dvc remote", "fail", f"{what}: {' '.join(str(reason).split()).rstrip('.')}", remedy)


def _client(own: Mapping[str, str]) -> tuple[Any, str]:
    """Returns a client with the settings of a remote, and where its credentials are from."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    session, is_public = Session(profile=own.get("profile")), own.get("allow_anonymous_login", "").lower() == "true"
    if "credentialpath" in own:
        session.set_config_variable("credentials_file", own["credentialpath"])
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2})
    client = session.create_client(
        "s3",
        endpoint_url=own.get("endpointurl"),
        region_name=own.get("region"),
        verify=False if own.get("ssl_verify", "").lower() == "false" else own.get("ssl_verify"),
        config=config.merge(Config(signature_version=UNSIGNED)) if is_public else config,
        **{f"aws_{key}": own.get(key) for key in ("access_key_id", "secret_access_key", "session_token")},
    )
    if is_public or "access_key_id" in own:
        return client, "no credentials" if is_public else "the key in DVC's settings"
    profile, found = session.get_config_variable("profile") or "default", session.get_credentials()
    return client, f"{f'credentials from {found.method}' if found else 'no credentials'}, profile {profile}"
