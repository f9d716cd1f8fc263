"""A string that must never be read by a person. Imports no Django: the engine uses it too."""

from __future__ import annotations

from typing import Final, Never

MASK: Final = "********"


class Secret:
    """A string that shows only when `reveal` is called.

    It is no `str`, so that it can't slip into a format string, a log line, JSON or a pickle.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> Never:
        raise TypeError("A secret is not pickled: hand it on in memory, or encrypt it.")
