"""A command's help as Rich draws it, for a person: Typer's own drawing loads Markdown and tracebacks, 200 ms for nothing."""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from dbctl.cli.output.streams import wants_colour

Record = tuple[str, str]
_WIDEST, _NAMES = 100, 34


def draw_help(command: Any, ctx: Any) -> str:
    """Usage, description, then arguments, options and commands: a name and what it does."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    parts = [Text.assemble(("Usage: ", "bold"), usage), Text(_paragraphs(command.help or "", width))]
    parts += [_section(title, records, width) for title, records in _sections(command, ctx) if records]
    if command.epilog:
        parts.append(Text(command.epilog))
    return _render(Text("\n\n").join(parts), width)


def _render(text: Text, width: int) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=True, no_color=not wants_colour(), highlight=False
    )
    console.print(text, soft_wrap=True)
    return stream.getvalue()


def _paragraphs(text: str, width: int) -> str:
    return "\n\n".join(textwrap.fill(" ".join(paragraph.split()), width) for paragraph in text.split("\n\n"))


def _sections(command: Any, ctx: Any) -> Iterable[tuple[str, Sequence[Record]]]:
    parameters = command.get_params(ctx)
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        records = (one.get_help_record(ctx) for one in parameters if one.param_type_name == kind)
        yield title, [record for record in records if record]
    members = getattr(command, "commands", {})
    yield (
        "Commands",
        [(name, one.get_short_help_str(limit=80)) for name, one in members.items() if not one.hidden],
    )


def _section(title: str, records: Sequence[Record], width: int) -> Text:
    indent = min(max(len(name) for name, _ in records), _NAMES) + 4
    section = Text(f"{title}:", style="bold", end="")
    for name, text in records:
        lines = textwrap.wrap(" ".join(text.split()), max(width - indent, 20)) or [""]
        # A name that is too long for its column has a line of its own.
        first = f"\n{' ' * indent}" if len(name) > indent - 4 else " " * (indent - 2 - len(name))
        section.append("\n  ").append(name, style="not bold cyan")
        section.append(first + f"\n{' ' * indent}".join(lines), style="not bold")
    return section
