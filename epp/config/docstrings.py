"""The docstrings below the fields of records, for help texts and the reference page.

Python keeps no docstring of a field, so a module's source is parsed; this runs for ``--help`` and the
reference page, never for a start.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

from epp.config.table import C, Setting, Table, is_nested, value_at


@cache
def _docs_of(module: ModuleType) -> dict[str, str]:
    """``Record.field`` → its docstring on one line; ``Record`` → the record's own."""
    tree = ast.parse(inspect.getsource(module))
    return {name: " ".join(text.split()) for node in tree.body for name, text in _of_class(node)}


def _of_class(node: ast.stmt) -> Iterator[tuple[str, str]]:
    if not isinstance(node, ast.ClassDef):
        return
    yield node.name, ast.get_docstring(node) or ""
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _text_of(below)
            if text is not None:
                yield f"{node.name}.{field.target.id}", text


def _text_of(node: ast.stmt) -> str | None:
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return node.value.value
    return None


def describe(table: Table[C], path: str) -> str:
    """The docstring of the field at ``path``, or of the mapping it is in; empty where there is none."""
    section, _, name = path.rpartition(".")
    holder = value_at(table.default, section) if section else table.default
    if not is_nested(holder):
        return ""
    text = _doc(table, f"{type(holder).__name__}.{name}")
    return text or (describe(table, section) if section and isinstance(holder, Mapping) else "")


def describe_section(table: Table[C], section: str) -> str:
    """The docstring of the record, or of the mapping field, at a section's path."""
    holder = value_at(table.default, section) if section else table.default
    return _doc(table, type(holder).__name__) or describe(table, section)


def help_text(table: Table[C], setting: Setting) -> str:
    """What a setting means."""
    return setting.about or describe(table, setting.path)


def _doc(table: Table[C], name: str) -> str:
    return next((docs[name] for docs in map(_docs_of, table.modules) if name in docs), "")
