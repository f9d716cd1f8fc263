"""Django's own stubs promise more of views than an override can keep, so the base is open."""

from typing import Any

_ModelAdmin: Any
_Inline: Any

class ModelAdmin(_ModelAdmin): ...  # type: ignore[misc]
class StackedInline(_Inline): ...  # type: ignore[misc]
class TabularInline(_Inline): ...  # type: ignore[misc]
