"""Libraries that few tests need, imported when one of these runs.

Each worker of the tests collects all of them: what stands at the top of a test's module, every
worker imports.
"""

from importlib import import_module
from typing import Any


class Lazily:
    """A module, imported once something of it is asked for.

    Args:
        name: of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for these in whatever stands in a test's module
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
