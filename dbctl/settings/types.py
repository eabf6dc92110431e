"""What a key may be: durations, sizes, lists of names, and the table that holds keys."""

from __future__ import annotations

import json
import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
_SIZES = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE = re.compile(r"\s*(\d+)\s*(B|kB|MB|GB)?\s*")
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)?\s*")


def parse_duration(value: Any) -> Any:
    """Seconds from a number of seconds or a text such as ``500ms``, ``2s``, ``5min``, ``26h``, ``7d``."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError("write a number of seconds, or a number with ms, s, min, h or d")
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse_bytes(value: Any) -> Any:
    """Bytes from a number or a text such as ``512kB``, ``1MB``, ``2GB``, in PostgreSQL's units of 1024."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError("write a number of bytes, or a number with kB, MB or GB")
    return int(match[1]) * _SIZES[match[2] or "B"]


def _words(value: Any) -> Any:
    """A command's words from a text, as a shell splits it, or from a JSON array."""
    if not isinstance(value, str):
        return value
    given = _array(value)
    return shlex.split(value) if given is None else given


def _names(value: Any) -> Any:
    """Names from a text, with commas or blanks between them, or from a JSON array."""
    if not isinstance(value, str):
        return value
    if (given := _array(value)) is not None:
        return given
    lexer = shlex.shlex(value, posix=True, punctuation_chars=False)
    lexer.whitespace += ","
    lexer.whitespace_split, lexer.commenters = True, ""
    return list(lexer)


def _array(text: str) -> list[str] | None:
    """The texts of a JSON array; None for a text that is none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        items = json.loads(text)
    except ValueError:
        raise ValueError('begins with [ and is no JSON array: write ["a", "b"]') from None
    if not all(isinstance(item, str) for item in items):
        raise ValueError("a JSON array of texts only")
    return list(items)


def _dotted(value: object) -> object:
    """``[backup.mask.users]`` with ``email = …`` is the same as ``"users.email" = …``."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, object] = {}
    for key, one in value.items():
        inner = _dotted(one)
        flat |= (
            {f"{key}.{name}": rule for name, rule in inner.items()} if isinstance(inner, dict) else {key: one}
        )
    return flat


def _place(value: str) -> str:
    """A folder, or a URL of a kind that we know, without secrets in it."""
    scheme, found, rest = value.partition("://")
    if not value.strip():
        raise ValueError("name a folder, or a URL such as s3://bucket/prefix")
    if found and scheme not in _SCHEMES:
        raise ValueError(f"{scheme}:// is no storage: {', '.join(_SCHEMES)}")
    if found and any(one in rest for one in "@?#"):
        raise ValueError("no credentials and no options in a URL: set AWS_ACCESS_KEY_ID and the like")
    if found and scheme != "file" and not rest.partition("/")[0]:
        raise ValueError("no bucket in it: write s3://bucket/prefix")
    return value


def check_places(values: tuple[str, ...]) -> tuple[str, ...]:
    if len({one.rstrip("/") for one in values}) < len(values):
        raise ValueError("one of them stands there twice")
    return tuple(_place(one) for one in values)


_SCHEMES = ("s3", "gs", "az", "file")
PLAIN_URL = r"^https?://[^@?#\s]+$"
Place = Annotated[str, AfterValidator(_place)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=30 * 86400)]
# Of a calendar, not of a wait.
Span = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(ge=0)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Share = Annotated[float, Field(gt=0, le=1)]
MaskRule = Literal["email", "username", "name", "text", "password", "null", "keep"]
MaskRules = Annotated[dict[str, MaskRule], BeforeValidator(_dotted)]
HazardLevel = Literal["danger", "caution", "notice", "off"]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class Section(BaseModel):
    """A table of the settings: unknown keys are errors, values can't be changed.

    Each command builds them as it starts. What checks a section is built with the whole, once, and not before for
    itself; defaults are made unchecked, as pydantic takes them anyhow, since checking them would need it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)
