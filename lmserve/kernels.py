"""How kernels are compiled that borrow their arrays: that make none and return none.

Numba counts the references to every array, by an atomic addition where an array is given to a
function and where that ends. What is called for every word then counts longer than it computes: to
find a word in a table cost 40 ns, and costs 7 without. A borrowed array is kept by who has lent it,
so that nothing needs to be counted. A kernel that does make an array fails to compile so; one that
returned an array it was given would spoil the count of it, which a test looks for.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core.dispatcher import Dispatcher

_Function = TypeVar("_Function", bound=Callable[..., object])


def borrowing(function: _Function) -> "Dispatcher[_Function]":
    """Compiles a kernel that allocates nothing and returns numbers, or nothing."""
    return _compiled(function)


def inlined(function: _Function) -> "Dispatcher[_Function]":
    """The same for one that becomes part of each that calls it."""
    return _compiled(function, forceinline=True)


def dividing(function: _Function) -> "Dispatcher[_Function]":
    """The same for one whose divisions by zero give infinities and no errors."""
    return _compiled(function, error_model="numpy")


def holding(function: _Function) -> "Dispatcher[_Function]":
    """The same for one of some microseconds, through which it keeps the interpreter.

    A thread that gives it up may wait milliseconds to have it back.
    """
    return _compiled(function, nogil=False)


def _compiled(function: _Function, **options: Any) -> "Dispatcher[_Function]":
    # That of `numba.extending.register_jitable`: nothing is allocated.
    options = {"nogil": True} | options | {"_nrt": False}
    compiled: Dispatcher[_Function] = njit(cache=True, **options)(function)
    return compiled
