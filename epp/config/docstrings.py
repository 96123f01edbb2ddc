"""The docstrings below the fields of :mod:`epp.config.model`, for help texts and the reference page.

Python keeps no docstring of a field, so the module's source is parsed; this runs for ``--help`` and the
reference page, never for a start.
"""

import ast
import inspect
from collections.abc import Iterator
from functools import cache

from epp.config import model


@cache
def field_docs() -> dict[str, str]:
    """``Record.field`` → its docstring on one line; ``Record`` → the record's own."""
    module = ast.parse(inspect.getsource(model))
    return {name: " ".join(text.split()) for node in module.body for name, text in _of_class(node)}


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


def record_of(section: str) -> str:
    """The record's name for a section path: ``server.tls`` is ``TlsConfig``; empty path: ``Config``."""
    record: object = model.Config()
    for name in filter(None, section.split(".")):
        record = getattr(record, name)
    return type(record).__name__


def describe(path: str) -> str:
    """The docstring of the field at ``path``; empty for a path that is no field."""
    section, _, name = path.rpartition(".")
    return field_docs().get(f"{record_of(section)}.{name}", "")
