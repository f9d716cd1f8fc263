"""Secrets at rest: a model field that encrypts a `Secret`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldError
from django.db import models

from streamsite.security.secret import Secret, Unreadable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    _TextField = models.TextField[Secret | str, Secret]
else:
    _TextField = models.TextField

#: Marks ciphertext of this field, so that a later scheme can tell its own rows from these.
PREFIX: Final = "f1:"


@lru_cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def cipher() -> MultiFernet:
    """The cipher of FIELD_KEYS: the first key encrypts, all of them decrypt."""
    return _cipher(tuple(settings.FIELD_KEYS))


class SecretField(_TextField):
    """A `Secret`, encrypted at rest. It can be looked up by `isnull` only."""

    description = "A secret, encrypted at rest"
    if TYPE_CHECKING:
        # The types that django-stubs expects for setting and getting.
        _pyi_private_set_type: Secret | str  # type: ignore[assignment]  # names that django-stubs reads
        _pyi_private_get_type: Secret  # type: ignore[assignment]  # names that django-stubs reads

    def from_db_value(
        self, value: str | None, expression: object, connection: BaseDatabaseWrapper
    ) -> Secret | None:
        if value is None:
            return None
        if not value:
            return Secret("")
        try:
            return Secret(cipher().decrypt(value.removeprefix(PREFIX).encode()).decode())
        except InvalidToken:
            # One that can't be read must not keep everything else from being read.
            return Unreadable(value)

    def to_python(self, value: object) -> Secret | None:
        if value is None or isinstance(value, Secret):
            return value
        text = str(value)
        if text.startswith(PREFIX):
            # `loaddata` brings back the ciphertext that `dumpdata` wrote.
            with suppress(InvalidToken):
                text = cipher().decrypt(text.removeprefix(PREFIX).encode()).decode()
        return Secret(text)

    def get_prep_value(self, value: Secret | str | None) -> str | None:
        if value is None:
            return None
        if isinstance(value, Unreadable):
            return value.stored
        plain = value.reveal() if isinstance(value, Secret) else value
        return PREFIX + cipher().encrypt(plain.encode()).decode() if plain else ""

    def value_to_string(self, obj: models.Model) -> str:
        """The value that `dumpdata` writes: the ciphertext, never the secret."""
        return self.get_prep_value(self.value_from_object(obj)) or ""

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError(f"{self.name} is a secret: it can be looked up by isnull only.")
        return super().get_lookup(lookup_name)


def secret_fields() -> Iterator[tuple[type[models.Model], SecretField]]:
    """All secret fields of all models."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, SecretField):
                yield model, field


def unreadable_rows() -> Iterator[str]:
    """Each stored secret that no key decrypts, as "Model 7, field"."""
    for model, field in secret_fields():
        for pk, value in model._base_manager.values_list("pk", field.name).iterator():
            if isinstance(value, Unreadable):
                yield f"{model._meta.verbose_name} {pk}, {field.verbose_name}"
