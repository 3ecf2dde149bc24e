"""Work that can be left and gone on with: nobody waits for the whole of a long text.

A function that yields where it may be left, and returns its result. Knows neither clocks nor texts:
who runs it decides how far.
"""

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Steps: TypeAlias = Generator[None, None, _T]
"""What is done in steps; its result is what it returns."""


def at_once(steps: Steps[_T]) -> _T:
    """Do all that is left; return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def some_of(steps: Steps[_T], is_spent: Callable[[], bool]) -> tuple[_T] | None:
    """Do one step at least, and more while time is left; return the result, None if not there yet.

    Args:
        is_spent: whether no time is left.
    """
    try:
        next(steps)
        while not is_spent():
            next(steps)
    except StopIteration as end:
        return (end.value,)
    return None


def never() -> bool:
    """Time does not run out."""
    return False
