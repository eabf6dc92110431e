"""From what the settings name to where the backups are: a folder, or a URL of a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from dbctl.backup.disk import FolderStorage
from dbctl.backup.storage import Storage
from dbctl.errors import SettingsError, ToolMissing
from dbctl.settings import StorageSettings

if TYPE_CHECKING:
    from dbctl.backup.unfinished import Unfinished

_MOST_RETRIES = 100


def open_storage(target: str, settings: StorageSettings, root: Path) -> Storage:
    """The storage of a folder below ``root``, or of ``s3://``, ``gs://``, ``az://bucket/prefix``, ``file://``.

    Asks nobody yet. Raises SettingsError for what is none, ToolMissing without obstore.
    """
    parts = urlsplit(target)
    if "://" not in target:
        return FolderStorage(root / Path(target).expanduser())
    if parts.scheme == "file":
        return FolderStorage(Path(unquote(parts.path)))
    return _bucket(parts.scheme, parts.netloc, parts.path.strip("/"), settings)


def _bucket(scheme: str, bucket: str, prefix: str, settings: StorageSettings) -> Storage:
    try:
        from dbctl.backup.objects import ObjectStorage
    except ImportError:
        raise ToolMissing(
            f"no backups in {scheme}:// from here",
            why="the package obstore is not installed",
            hint='`pip install "pg-dbctl[storage]"`',
        ) from None
    place = f"{scheme}://{bucket}" + (f"/{prefix}" if prefix else "")
    common: dict[str, Any] = {
        "prefix": prefix or None,
        "client_options": {
            "allow_http": settings.allow_http,
            "connect_timeout": "10s",
            "timeout": f"{max(round(settings.timeout), 1)}s",
        },
        "retry_config": {
            "max_retries": _MOST_RETRIES,
            "retry_timeout": timedelta(seconds=settings.retry),
            "backoff": {"max_backoff": timedelta(seconds=5)},
        },
    }
    try:
        store = _store(scheme, bucket, common, settings)
    except (ValueError, OSError) as error:
        raise SettingsError(f"{place} can't be used", why=str(error).partition("\n")[0]) from None
    return ObjectStorage(
        store,
        place,
        part_bytes=settings.part_size,
        lease_seconds=settings.lease,
        unfinished=_unfinished(bucket, prefix, place, settings) if scheme == "s3" else None,
    )


def _store(scheme: str, bucket: str, common: Mapping[str, Any], settings: StorageSettings) -> Any:
    from obstore.store import AzureStore, GCSStore, S3Store

    endpoint = settings.endpoint_url
    if scheme == "s3":
        named: dict[str, Any] = {
            "endpoint": endpoint,
            "region": settings.region,
            "virtual_hosted_style_request": settings.virtual_hosted or None,
            "credential_provider": _profile(settings.profile) if settings.profile else None,
        }
    else:
        named = {"base_url" if scheme == "gs" else "endpoint": endpoint}
    kinds: Mapping[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    known = {key: value for key, value in named.items() if value is not None}
    return kinds[scheme](bucket, **common, **known)


def _profile(name: str) -> Any:
    """What gives the credentials of a profile, those of a role or of a single sign-on as well."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise ToolMissing(
            f"the profile {name!r} can't be read",
            why="the package boto3 is not installed",
            hint='`pip install "pg-dbctl[aws]"`',
        ) from None
    try:
        return Boto3CredentialProvider(boto3.Session(profile_name=name))
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(f"the profile {name!r} gives no credentials", why=str(error)) from None


def _unfinished(bucket: str, prefix: str, place: str, settings: StorageSettings) -> Unfinished | None:
    """Through boto3, which alone can list them; None without it."""
    from importlib.util import find_spec

    from dbctl.backup.unfinished import Unfinished

    if find_spec("boto3") is None:
        return None

    def connect() -> Any:
        import boto3

        session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
        return session.client("s3", endpoint_url=settings.endpoint_url)

    return Unfinished(connect, bucket, prefix, place)
