"""beartype, which writes the check of a function once; no tests here.

A function inside another is made anew with every call of the outer one. What checks it is the same each time, and
writing and compiling it took a fifth of the time of a test that attacks a model.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from beartype import beartype

_made: dict[tuple[Any, ...], FunctionType] = {}


def checked(function: Any) -> Any:
    """`function`, whose arguments and result are checked against its annotations."""
    if not isinstance(function, FunctionType) or "<locals>" not in function.__qualname__:
        return beartype(function)
    annotations = repr([*function.__annotations__.items()])
    key = (function.__module__, function.__qualname__, function.__code__, annotations)
    if key not in _made:
        checking = beartype(function)
        if "__beartype_func" in (getattr(checking, "__kwdefaults__", None) or {}):
            _made[key] = checking
        return checking
    checking = _made[key]
    again = FunctionType(checking.__code__, checking.__globals__, checking.__name__, checking.__defaults__)
    again.__dict__.update(checking.__dict__)
    again.__dict__["__wrapped__"] = function
    again.__kwdefaults__ = {**(checking.__kwdefaults__ or {}), "__beartype_func": function}
    again.__module__, again.__qualname__, again.__doc__ = function.__module__, function.__qualname__, function.__doc__
    again.__annotations__ = function.__annotations__
    return again
