"""Expressions and conditions: what they call and read, and which rows a WHERE means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dbctl.postgres.sql.names import words
from dbctl.postgres.sql.operations import Expression, Filter
from dbctl.postgres.sql.tree import Fields, walk

_NOT_CONSTANT = {"ColumnRef", "FuncCall", "SubLink", "SQLValueFunction", "ParamRef", "SetToDefault"}
_LOWER = {">", ">="}
_UPPER = {"<", "<="}
_KINDS = {
    "AEXPR_BETWEEN": "between",
    "AEXPR_BETWEEN_SYM": "between",
    "AEXPR_OP": "",
    "AEXPR_IN": "=",
    "AEXPR_OP_ANY": "=",
}


def expression(node: Fields) -> Expression:
    """An expression."""
    kinds = list(walk(node))
    functions = tuple(
        _called(kind, fields) for kind, fields in kinds if kind in {"FuncCall", "SQLValueFunction"}
    )
    columns = tuple(column(fields) for kind, fields in kinds if kind == "ColumnRef")
    return Expression(
        functions=tuple(dict.fromkeys(functions)),
        columns=tuple(dict.fromkeys(columns)),
        is_constant=not any(kind in _NOT_CONSTANT for kind, _ in kinds),
        node=node,
    )


def column(fields: Fields) -> str:
    """A ColumnRef's column; empty for a star."""
    return (words(fields.get("fields", ())[-1:]) or [""])[0]


def which_rows(where: Fields | None, *sources: Any, ctes: Mapping[str, bool] | None = None) -> Filter:
    """What a WHERE says; ``sources`` is FROM or USING, ``ctes`` the WITH queries in scope, true if bounded."""
    ctes = ctes or {}
    terms = list(conjuncts(where)) if where else []
    compared = [each for term in terms for each in _compared(term)]
    lower = {name for name, operator in compared if operator in _LOWER or operator == "between"}
    upper = {name for name, operator in compared if operator in _UPPER or operator == "between"}
    all_rows = all(_is_constant(term) for term in terms)
    is_joined = not all_rows and any(is_bounded(item, ctes) for source in sources for item in source)
    return Filter(
        all_rows=all_rows,
        equals=_once(name for name, operator in compared if operator == "="),
        ranged=_once(name for name, operator in compared if operator != "="),
        bounded=_once(name for name, _ in compared if name in lower and name in upper),
        limited=is_joined or any(_is_tied(term, ctes) for term in terms),
        equal_nodes=tuple(node for term in terms for node in _equal(term)),
    )


def with_queries(fields: Fields, outer: Mapping[str, bool]) -> dict[str, bool]:
    """The WITH queries that a statement may name, true where their rows are bounded."""
    known = dict(outer)
    for node in fields.get("withClause", {}).get("ctes", ()):
        query = node["CommonTableExpr"]
        known[query.get("ctename", "")] = is_bounded(query.get("ctequery", {}), known)
    return known


def is_bounded(node: Fields, ctes: Mapping[str, bool]) -> bool:
    """Whether a query, or an item of FROM, gives a number of rows that does not grow with a table."""
    return any(_BOUNDED[kind](fields, ctes) for kind, fields in node.items() if kind in _BOUNDED)


def _is_bounded_name(fields: Fields, ctes: Mapping[str, bool]) -> bool:
    return not fields.get("schemaname") and ctes.get(fields.get("relname", ""), False)


def _is_bounded_join(fields: Fields, ctes: Mapping[str, bool]) -> bool:
    sides = [is_bounded(fields.get(side, {}), ctes) for side in ("larg", "rarg")]
    return all(sides) or (any(sides) and "quals" in fields)


def _is_bounded_select(fields: Fields, outer: Mapping[str, bool]) -> bool:
    ctes = with_queries(fields, outer)
    limit = fields.get("limitCount")
    if "valuesLists" in fields or (limit and not limit.get("A_Const", {}).get("isnull")):
        return True
    if "larg" in fields:
        return all(_is_bounded_select(fields.get(side, {}), ctes) for side in ("larg", "rarg"))
    sources = fields.get("fromClause", ())
    if all(is_bounded(item, ctes) for item in sources):
        return True
    return which_rows(fields.get("whereClause"), sources, ctes=ctes).limited


def _is_bounded_change(fields: Fields, outer: Mapping[str, bool]) -> bool:
    """A changing WITH query: RETURNING gives no more rows than it changed."""
    ctes = with_queries(fields, outer)
    if "selectStmt" in fields:
        return is_bounded(fields["selectStmt"], ctes)
    sources = fields.get("fromClause", fields.get("usingClause", ()))
    return which_rows(fields.get("whereClause"), sources, ctes=ctes).limited


def _unnests(fields: Fields, _ctes: Mapping[str, bool]) -> bool:
    """unnest() of a parameter or a list: as many rows as were given."""
    calls = [each for kind, each in walk(fields) if kind == "FuncCall"]
    reads = any(kind == "ColumnRef" for kind, _ in walk(fields))
    return bool(calls) and not reads and all(words(call["funcname"])[-1] == "unnest" for call in calls)


def conjuncts(node: Fields) -> Iterator[Fields]:
    """The terms that AND joins."""
    conjunction = node.get("BoolExpr", {})
    if conjunction.get("boolop") == "AND_EXPR":
        for argument in conjunction["args"]:
            yield from conjuncts(argument)
    else:
        yield node


def _compared(term: Fields) -> Iterator[tuple[str, str]]:
    """The column that a term compares with something that reads no column, and the operator."""
    comparison = term.get("A_Expr", {})
    operator = _KINDS.get(comparison.get("kind", ""))
    if operator is None:
        return
    symbol = (words(comparison.get("name", ())[-1:]) or [""])[0]
    if operator == "=" and symbol != "=":
        return
    left, right = comparison.get("lexpr", {}), comparison.get("rexpr", {})
    operator = operator or symbol
    if operator not in {"=", "between", *_LOWER, *_UPPER}:
        return
    if _row(left) and _is_given(right):
        # The rows between two others are as few as the numbers between two others.
        yield from ((name, operator) for name in _row(left))
    elif _column(left) and (_is_given(right) or (operator == "=" and _is_one_value(right))):
        yield _column(left), operator
    elif _column(right) and _is_given(left) and operator != "between":
        yield _column(right), {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(operator, operator)


def _equal(term: Fields) -> Iterator[Fields]:
    """What else than a column a term compares by = with something that reads no column."""
    comparison = term.get("A_Expr", {})
    if _KINDS.get(comparison.get("kind", "")) is None or words(comparison.get("name", ())[-1:]) != ["="]:
        return
    left, right = comparison.get("lexpr", {}), comparison.get("rexpr", {})
    for node, other in ((left, right), (right, left)):
        if not _column(node) and not _is_given(node) and _is_given(other):
            yield node


def _column(node: Fields) -> str:
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    return column(node["ColumnRef"]) if "ColumnRef" in node else ""


def _row(node: Fields) -> list[str]:
    """The columns of ``(a, b)``; empty for any other row, and for what is none."""
    names = [_column(each) for each in node.get("RowExpr", {}).get("args", ())]
    return names if all(names) else []


def _is_given(node: Fields) -> bool:
    return not any(kind in {"ColumnRef", "SubLink"} for kind, _ in walk(node))


def _is_one_value(node: Fields) -> bool:
    """Whether it is a sub-select that gives one value for all rows: it names no table but its own."""
    link = node.get("SubLink", {})
    query = link.get("subselect", {}).get("SelectStmt", {})
    if link.get("subLinkType") != "EXPR_SUBLINK" or not query.get("fromClause"):
        return False
    own = {
        fields.get("alias", {}).get("aliasname") or fields.get("relname", "")
        for kind, fields in walk(query["fromClause"])
        if kind == "RangeVar"
    }
    named = (words(fields.get("fields", ())) for kind, fields in walk(query) if kind == "ColumnRef")
    return bool(own) and all(len(each) < 2 or each[-2] in own for each in named)  # noqa: PLR2004 - table.column


def _is_constant(term: Fields) -> bool:
    return not any(kind in _NOT_CONSTANT for kind, _ in walk(term)) and "CurrentOfExpr" not in term


def _is_tied(term: Fields, ctes: Mapping[str, bool]) -> bool:
    """Whether a term lets through only what a bounded sub-select gives, or one row of a cursor."""
    if "CurrentOfExpr" in term:
        return True
    link = term.get("SubLink", {})
    if link.get("subLinkType") == "ANY_SUBLINK" and words(link.get("operName", ())) in ([], ["="]):
        return is_bounded(link.get("subselect", {}), ctes)
    comparison = term.get("A_Expr", {})
    if words(comparison.get("name", ())) != ["="]:
        return False
    if comparison.get("kind") == "AEXPR_OP_ANY":
        return _is_bounded_link(comparison.get("rexpr", {}), "ARRAY_SUBLINK", ctes)
    return comparison.get("kind") == "AEXPR_OP" and any(
        _is_bounded_link(comparison.get(side, {}), "EXPR_SUBLINK", ctes) for side in ("lexpr", "rexpr")
    )


def _is_bounded_link(node: Fields, kind: str, ctes: Mapping[str, bool]) -> bool:
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    link = node.get("SubLink", {})
    return link.get("subLinkType") == kind and is_bounded(link.get("subselect", {}), ctes)


def _called(kind: str, fields: Fields) -> str:
    if kind == "SQLValueFunction":
        return str(fields.get("op", "")).removeprefix("SVFOP_").removesuffix("_N").lower()
    parts = words(fields.get("funcname", ()))
    return ".".join(parts[1:] if parts[:1] == ["pg_catalog"] else parts)


def _once(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


_BOUNDED = {
    "SelectStmt": _is_bounded_select,
    "InsertStmt": _is_bounded_change,
    "UpdateStmt": _is_bounded_change,
    "DeleteStmt": _is_bounded_change,
    "RangeSubselect": lambda fields, ctes: is_bounded(fields.get("subquery", {}), ctes),
    "RangeVar": _is_bounded_name,
    "RangeFunction": _unnests,
    "JoinExpr": _is_bounded_join,
}
