"""manage.py reencrypt_secrets: encrypts all stored secrets with the first of FIELD_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from streamsite.security.fields import secret_fields, unreadable_rows
from streamsite.security.secret import Unreadable


class Command(BaseCommand):
    help = (
        "Encrypts all stored secrets with the first of FIELD_KEYS, so that older keys can be "
        "removed. Reports secrets that no key decrypts, and leaves them as they are."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        for model, field in secret_fields():
            rows = model._base_manager.exclude(**{f"{field.name}__isnull": True})
            for pk in list(rows.values_list("pk", flat=True)):
                with transaction.atomic():
                    one = rows.filter(pk=pk)
                    if connection.features.has_select_for_update:
                        one = one.select_for_update()
                    value = one.values_list(field.name, flat=True).first()
                    if value and not isinstance(value, Unreadable):
                        count += rows.filter(pk=pk).update(**{field.name: value})
        self.stdout.write(f"{count} secrets are encrypted with the first of FIELD_KEYS.")
        if unreadable := list(unreadable_rows()):
            raise CommandError(
                f"{len(unreadable)} can't be decrypted: {'; '.join(unreadable)}. Put the old "
                "key back into FIELD_KEYS, or type them again."
            )
