"""Uploads to S3 that a killed run left unfinished: no list shows them, and they are paid for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dbctl.backup.naming import BACKUP_ID
from dbctl.errors import Failed


class Unfinished:
    """What boto3 lists and aborts; ``connect`` makes its client when it is needed first."""

    def __init__(self, connect: Callable[[], Any], bucket: str, prefix: str, place: str) -> None:
        self._connect = connect
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._place = place
        self._client: Any = None

    def ids(self) -> set[str]:
        """The backups that were to be; none where we may not ask."""
        with suppress(Failed):
            return {self._id(one["Key"]) for one in self._list()}
        return set()

    def abort(self, backup_id: str) -> None:
        """Drop the parts that were uploaded for it, as far as we may. What is left is named again the next time."""
        with suppress(Failed), self._errors():
            for one in self._list():
                if self._id(one["Key"]) == backup_id:
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=one["Key"], UploadId=one["UploadId"]
                    )

    def _id(self, key: str) -> str:
        return key.removeprefix(self._prefix).partition("/")[0]

    def _list(self) -> list[dict[str, Any]]:
        with self._errors():
            self._client = self._client or self._connect()
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            found = [one for page in pages for one in page.get("Uploads", ())]
        return [one for one in found if BACKUP_ID.fullmatch(self._id(one["Key"]))]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise Failed(f"can't ask {self._place} for unfinished uploads", why=str(error)) from None
