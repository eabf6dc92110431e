"""Files of users, plain or packed by gzip or zstd: read by what they hold, written by what they are called."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from dbctl.errors import Corrupt, Failed, Invalid, ToolMissing, UsageError

if TYPE_CHECKING:
    from dbctl.users.transfer.model import Format

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_FORMATS: dict[str, Format] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_ZSTD_ENDINGS = (".zst", ".zstd")
_PACKED = (".gz", *_ZSTD_ENDINGS)


def format_of(name: str, given: Format | None, *, option: str) -> Format:
    """The format that ``option`` gave, else the one that a file's name says. Raises UsageError."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    while suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    found = given or _FORMATS.get(suffixes[-1] if suffixes else "")
    if found is None:
        raise UsageError(
            f"in which format is {name!r}?", why="its name does not say", hint=f"add {option} csv or ndjson"
        )
    return found


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to be read. Raises Failed."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise Failed(f"can't read {path}", why=error.strerror or str(error)) from error
    with raw:
        yield raw


@contextmanager
def text_of(raw: BinaryIO, name: str, encoding: str = "utf-8") -> Iterator[TextIO]:
    """What is written in ``raw``, unpacked. Bytes that are not of the encoding come as lone surrogates: a row tells.

    Raises Invalid for an encoding that nobody knows, Corrupt where a packed file is damaged.
    """
    known = encoding.lower().replace("_", "-")
    with _damage_told(name):
        plain = _unpacked(raw)
        if known in {"utf-8", "utf8"} and plain.peek(2)[:2] in _UTF16:
            raise Invalid("encoding", f"{name} is in UTF-16", hint="add --encoding utf-16")
        # Excel begins UTF-8 with a mark of byte order.
        used = "utf-8-sig" if known in {"utf-8", "utf8"} else encoding
        try:
            text = io.TextIOWrapper(plain, encoding=used, errors="surrogateescape", newline="")
        except LookupError as error:
            raise Invalid("encoding", f"nobody knows {encoding!r}", hint="such as latin-1") from error
        yield text


@contextmanager
def created(path: Path) -> Iterator[TextIO]:
    """A file of mode 0600 to be written, packed as its name says; it is there at the end or not at all.

    Raises Failed.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(os.fdopen(_create(partial), "wb"))
            packed = stack.enter_context(_packed(raw, path.suffix.lower()))
            yield stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline=""))
        partial.replace(path)
    except OSError as error:
        raise Failed(f"can't write {path}", why=error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def _unpacked(raw: BinaryIO) -> io.BufferedReader:
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("Any", raw))
    start = buffered.peek(4)[:4]
    if start.startswith(_GZIP):
        return io.BufferedReader(cast("Any", gzip.GzipFile(fileobj=buffered, mode="rb")))
    if start == _ZSTD:
        return io.BufferedReader(_zstd().ZstdFile(buffered, "rb"))
    return buffered


def _packed(raw: IO[bytes], suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, filename="", mtime=0)
    return _zstd().ZstdFile(raw, "wb") if suffix in _ZSTD_ENDINGS else raw


def _zstd() -> Any:
    """Python's own from 3.14 on, before that its backport."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise ToolMissing("zstd files need a library", hint="install pg-dbctl[zstd], or use gzip")


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Corrupt(f"{name} is damaged", why=str(error)) from error
    except UnicodeError as error:
        # Encodings of which not each byte can be kept as a surrogate, such as UTF-16.
        raise Corrupt(f"{name} is not in that encoding, or is cut short", why=str(error)) from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise Corrupt(f"{name} is damaged", why=str(error)) from error
        raise
