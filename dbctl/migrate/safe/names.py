"""The names that PostgreSQL gives to constraints without one, chosen beforehand: a downgrade has to know them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count

from dbctl.postgres.identifiers import NAME_BYTES


def free_name(table: str, columns: Sequence[str], label: str, taken: Collection[str]) -> str:
    """``table_columns_label``, cut to fit, with a number where it is taken: ChooseConstraintName's rule."""
    middle = "_".join(columns)
    names = (object_name(table, middle, f"{label}{number or ''}") for number in count())
    return next(name for name in names if name not in taken)


def object_name(first: str, second: str, label: str) -> str:
    """The parts joined by underscores; the longer of the first two is cut until all fit (makeObjectName)."""
    parts, ending = [first.encode(), second.encode()], f"_{label}".encode()
    room = NAME_BYTES - len(ending) - (1 if second else 0)
    sizes = [len(part) for part in parts]
    while sum(sizes) > room:
        sizes[0 if sizes[0] > sizes[1] else 1] -= 1
    # A character that was cut in its middle goes as a whole.
    kept = [part[:size].decode(errors="ignore") for part, size in zip(parts, sizes, strict=True)]
    return "_".join(part for part in kept if part) + ending.decode()
