"""Where a function stands in the source, and whether two are one that was loaded twice."""

import inspect
import os
import sys
from typing import Any


def same(one: Any, other: Any) -> bool:
    """Whether two functions are one, perhaps loaded twice; two of one name in one module are not."""
    if one is other:
        return True
    if (one.__module__, one.__qualname__) != (other.__module__, other.__qualname__):
        return False
    if other.__module__ == "__main__" and hasattr(sys, "ps1"):
        return True  # typed again at a prompt or in a notebook
    return _file(one) == _file(other) and (_line(one) == _line(other) or not _first_import(other.__module__))


def _first_import(module: str) -> bool:
    """Whether this module is being run for the first time: then nothing in it is a second version of itself."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return module == "__main__" or bool(getattr(spec, "_initializing", False))


def _line(function: Any) -> int:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return 0 if code is None else int(code.co_firstlineno)


def _file(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "?" if code is None else os.path.realpath(code.co_filename)


def place(function: Any) -> str:
    """`shop/auth.py:12`, from the current directory where it is below it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return repr(function)
    path = os.path.relpath(code.co_filename) if code.co_filename.startswith(os.getcwd() + os.sep) else code.co_filename
    return f"{path}:{_line(function)}"


def module_name(function: Any) -> str:
    """The last word of a function's module; of a program, the name of its file."""
    module: str = getattr(function, "__module__", "") or "other"
    if module == "__main__":
        module = os.path.splitext(os.path.basename(_file(function)))[0]
    return module.rpartition(".")[2]
