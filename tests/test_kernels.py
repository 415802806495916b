"""Kernels that borrow arrays without counting references must not return one."""

import importlib
import pkgutil
import typing
from collections.abc import Iterator

import numpy as np
from numba.core.dispatcher import Dispatcher

from lmserve.ngram.ordering import _copy_lists
from lmserve.ngram.probe_window import new_window
from lmserve.text.scanning import scan_word


def kernels(of: str) -> Iterator[Dispatcher]:
    """Those of a module, its own."""
    for member in vars(importlib.import_module(of)).values():
        if isinstance(member, Dispatcher) and member.py_func.__module__ == of:
            yield member


def returns_an_array(kernel: Dispatcher) -> bool:
    waiting = [typing.get_type_hints(kernel.py_func)["return"]]
    while waiting:
        kind = waiting.pop()
        if typing.get_origin(kind) is np.ndarray:
            return True
        # Of tuples, with names and without.
        waiting += typing.get_args(kind)
        waiting += typing.get_type_hints(kind).values() if hasattr(kind, "_fields") else ()
    return False


def every_kernel() -> Iterator[Dispatcher]:
    for package in ("lmserve", "lmserve.text", "lmserve.ngram", "lmserve.service"):
        path = importlib.import_module(package).__path__
        for module in pkgutil.iter_modules(path, f"{package}."):
            yield from kernels(module.name)


def test_what_borrows_arrays_returns_none() -> None:
    borrowing = [kernel for kernel in every_kernel() if not kernel.targetoptions.get("_nrt", True)]
    assert len(borrowing) > 50
    assert not [kernel.py_func.__name__ for kernel in borrowing if returns_an_array(kernel)]


def test_the_check_tells_them_apart() -> None:
    assert returns_an_array(_copy_lists)
    assert returns_an_array(new_window)
    assert not returns_an_array(scan_word)
    assert not scan_word.targetoptions["_nrt"]
