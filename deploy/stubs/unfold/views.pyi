from typing import Any

_ChangeList: Any

class ChangeList(_ChangeList): ...  # type: ignore[misc]  # as in admin.pyi
