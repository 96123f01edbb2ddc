"""The type of values that cffi makes; with the stub of ``_native`` the only place where types end."""

from typing import Any, TypeAlias

CData: TypeAlias = Any
"""A pointer, array or struct of the core."""
