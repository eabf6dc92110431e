"""SQL in a revision file, written so that the server gets the very same text: through Python, and through text()."""

from __future__ import annotations

import re

# What SQLAlchemy's text() reads as a parameter, and the backslash that it takes away before a colon.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w+(?![:\w]))")
_BACKSLASH = re.compile(r"\\(?=:\w*(?![:\w]))")


def execute(sql: str) -> str:
    """The call that sends the SQL as it is."""
    return f"op.execute({as_python(for_text(sql), is_long=True)})"


def outside(*sqls: str) -> str:
    """The same of several, each outside a transaction."""
    return "\n    ".join(("with op.get_context().autocommit_block():", *map(execute, sqls)))


def accepting(hazard: str, reason: str, sql: str) -> str:
    """The same, with the comment that accepts what it brings."""
    return f"# dbctl: accept {hazard} because {reason}\n{execute(sql)}"


def for_text(sql: str) -> str:
    r"""The SQL as op.execute() and text() want it, where ``:x`` is a parameter and ``\:x`` is not; ``::`` stays."""
    return _PARAMETER.sub(r"\\:", _BACKSLASH.sub(r"\\\\", sql))


def as_python(text: str, *, is_long: bool = False) -> str:
    """A literal of exactly this text, but for a blank after a quote at the end; in three quotes if ``is_long``.

    Raw where it has a backslash; where not even that is exact, as repr() writes it.
    """
    is_long = is_long or "\n" in text
    if not all(each.isprintable() or each in "\n\t" for each in text) or text.endswith("\\"):
        return repr(text)
    if is_long and '"""' not in text:
        # A quote at the end would meet Python's own.
        ending = " " if text.endswith('"') else ""
        return f'{_prefix(text)}"""{text}{ending}"""'
    if is_long or '"' not in text:
        return repr(text) if is_long or "\t" in text else f'{_prefix(text)}"{text}"'
    return quoted(text)


def quoted(text: str) -> str:
    """A literal in double quotes, on one line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"{}"'.format(escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t"))


def _prefix(text: str) -> str:
    return "r" if "\\" in text else ""
