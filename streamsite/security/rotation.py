"""Encrypts stored secrets anew, with the first of FIELD_KEYS.

Each secret in a transaction of its own: at every moment each is readable by the first key or by
an older one, so a rotation may be killed at any instant and begun again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from streamsite.security.fields import PREFIX, secret_fields
from streamsite.security.secret import Unreadable


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored secret that the first key does not decrypt."""

    model: type[models.Model]
    field: str
    pk: Any

    def __str__(self) -> str:
        return f"{self.model._meta.verbose_name} {self.pk}, {self.field}"

    def reencrypt(self) -> bool:
        """Encrypts it with the first key; False if no key decrypts it, or it is gone."""
        with transaction.atomic():
            row = self.model._base_manager.filter(pk=self.pk)
            if connection.features.has_select_for_update:
                row = row.select_for_update()
            # Read again: somebody may have typed another since.
            value = row.values_list(self.field, flat=True).first()
            if not value or isinstance(value, Unreadable):
                return False
            return bool(row.update(**{self.field: value}))


def outdated() -> Iterator[Stored]:
    """Yields the stored secrets that the first of FIELD_KEYS does not decrypt."""
    first = Fernet(settings.FIELD_KEYS[0])
    for model, field in secret_fields():
        rows = model._base_manager.annotate(ciphertext=Cast(field.name, TextField()))
        for pk, text in list(rows.order_by("pk").values_list("pk", "ciphertext")):
            if not text:
                continue
            try:
                first.decrypt(text.removeprefix(PREFIX).encode())
            except InvalidToken:
                yield Stored(model, field.name, pk)


def write_keys(file: Path, keys: list[str]) -> None:
    """Replaces the file of keys, at once and for good. Raises `OSError`."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(",".join(keys))
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
