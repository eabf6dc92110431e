"""The options that commands share, once each: their names, their help, their type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer

from dbctl.errors import UsageError


class ReportFormat(StrEnum):
    """How one result is written: ``table`` is for people, ``json`` for programs."""

    TABLE = "table"
    JSON = "json"


class ListFormat(StrEnum):
    """How a list is written: for programs, an item a line or a row is possible too."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class FindingsFormat(StrEnum):
    """How findings about files are written: the last three are read by code reviews."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"
    GITLAB = "gitlab"


class MonitorFormat(StrEnum):
    """How a state is written: the last two are read by monitors."""

    TABLE = "table"
    JSON = "json"
    NAGIOS = "nagios"
    PROMETHEUS = "prometheus"


class HealthFormat(StrEnum):
    """How a health report is written: for people, programs, monitors and CI."""

    TABLE = "table"
    JSON = "json"
    NAGIOS = "nagios"
    PROMETHEUS = "prometheus"
    JUNIT = "junit"


class FileFormat(StrEnum):
    """What is in a file of users."""

    CSV = "csv"
    NDJSON = "ndjson"


class UserOrder(StrEnum):
    """What users are sorted by: an index gives each of them."""

    ID = "id"
    USERNAME = "username"
    CREATED_AT = "created_at"


class OnConflict(StrEnum):
    """What becomes of a user that is there already."""

    ERROR = "error"
    SKIP = "skip"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Common:
    """What the shared options said, wherever on the command line they stood."""

    env: str | None = None
    configs: Path | None = None
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    format: str = "table"
    output: Path | None = None
    yes: bool = False
    confirm: str | None = None

    @classmethod
    def merge(cls, outer: Common | None, options: dict[str, Any]) -> Common:
        """``outer`` (the group's) with what was really given further in. Raises UsageError."""
        if options.get("env") == "":
            raise UsageError("--env is empty", hint="name an environment: `dbctl env list` shows them")
        return replace(outer or cls(), **{name: value for name, value in options.items() if value})


def _option(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


COMMON = [
    _option(
        "env",
        Annotated[
            str | None, typer.Option("--env", "-e", help="The environment: a file in configs/. [DBCTL_ENV]")
        ],
        None,
    ),
    _option(
        "configs",
        Annotated[Path | None, typer.Option("--configs", help="The folder of the settings. [DBCTL_CONFIGS]")],
        None,
    ),
    _option("quiet", Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")], False),
    _option(
        "verbose",
        Annotated[bool, typer.Option("--verbose", "-v", help="Show SQL, timings, all there is to say.")],
        False,
    ),
    _option("debug", Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")], False),
]
_FORMAT = typer.Option("--format", help="How to write the result.")
_OUTPUT = _option(
    "output",
    Annotated[Path | None, typer.Option("--output", "-o", help="Write the result to this file.")],
    None,
)
EMITTING = {
    "": [],
    "report": [_option("format", Annotated[ReportFormat, _FORMAT], ReportFormat.TABLE), _OUTPUT],
    "list": [_option("format", Annotated[ListFormat, _FORMAT], ListFormat.TABLE), _OUTPUT],
    "monitor": [_option("format", Annotated[MonitorFormat, _FORMAT], MonitorFormat.TABLE), _OUTPUT],
    "health": [_option("format", Annotated[HealthFormat, _FORMAT], HealthFormat.TABLE), _OUTPUT],
    "findings": [_option("format", Annotated[FindingsFormat, _FORMAT], FindingsFormat.TABLE), _OUTPUT],
}
UNATTENDED = [
    _option(
        "ping",
        Annotated[
            str | None,
            typer.Option(
                "--ping",
                metavar="URL",
                envvar="DBCTL_PING",
                show_envvar=False,
                help="Tell this check of healthchecks.io or its like: URL/start, then URL or URL/fail. [DBCTL_PING]",
            ),
        ],
        None,
    ),
    _option(
        "metrics_file",
        Annotated[
            Path | None,
            typer.Option("--metrics-file", help="Write how it ended there, for Prometheus' node_exporter."),
        ],
        None,
    ),
]
WRITING = [
    _option(
        "yes", Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to what can be undone.")], False
    ),
    _option(
        "confirm",
        Annotated[
            str | None,
            typer.Option(
                "--confirm", metavar="NAME", help="The name of what must be confirmed; asked for otherwise."
            ),
        ],
        None,
    ),
]
