from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

def display(
    *,
    description: str | None = ...,
    label: bool | str | dict[str, str] | None = ...,
    ordering: Any = ...,
    boolean: bool | None = ...,
    header: bool | None = ...,
) -> Callable[[F], F]: ...
