"""Text of one line: names, labels and titles."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Final

from django.core.exceptions import ValidationError
from django.db import models

#: Turn the text that follows around, so that it reads as something else (UAX #9).
_OVERRIDES: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Unicode's categories: control characters, and line and paragraph separators.
_CONTROL: Final = frozenset({"Cc", "Zl", "Zp"})


def control_character(text: str) -> str:
    """The first character of the text that has no place in a name, as U+0007; or nothing.

    Such a character begins a new line in a log, a playlist or a header, moves a terminal's
    cursor, or disguises what the text says.
    """
    for char in text:
        if char in _OVERRIDES or unicodedata.category(char) in _CONTROL:
            return f"U+{ord(char):04X}"
    return ""


def text_fault(text: str) -> str:
    """Why the text is no name, in a sentence; empty when it is one."""
    if not (char := control_character(text)):
        return ""
    return f"It holds a line break or a control character ({char}): type it again."


def one_line(text: str) -> str:
    """The text without such characters."""
    return " ".join("".join(" " if control_character(char) else char for char in text).split())


class OneLineText(models.Model):
    """Validates that what people type into text fields of one line holds no such character."""

    class Meta:
        abstract = True

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        faults: dict[str, list[str]] = {}
        try:
            super().clean_fields(exclude=exclude)
        except ValidationError as error:
            faults = error.message_dict
        for field in self._meta.concrete_fields:
            value = getattr(self, field.attname)
            typed = isinstance(field, models.CharField) and field.editable
            if not typed or field.name in {*(exclude or ()), *faults, "key"}:
                continue
            if isinstance(value, str) and (fault := text_fault(value)):
                faults[field.name] = [fault]
        if faults:
            raise ValidationError(faults)
