"""Limits the admin to the rows of the visitor's channels."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from streams.models import visible
from streams.models.own_channels import CHANNEL_OF


class OwnChannels:
    """Mixin for the admin of rows that are of a channel, and for their inlines."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]  # ModelAdmin's
        return visible(rows, request)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """A form offers, and accepts, rows of these channels only."""
        related = db_field.related_model
        if related in CHANNEL_OF:
            kwargs["queryset"] = visible(related._default_manager.all(), request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]  # ModelAdmin's


class OwnRelatedFilter(admin.RelatedFieldListFilter):
    """A filter that names only channels and broadcasters that the visitor may see."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> Any:
        related = field.related_model
        rows = visible(related._default_manager.all(), request)
        ordering = self.field_admin_ordering(field, request, model_admin)
        return field.get_choices(
            include_blank=False, ordering=ordering, limit_choices_to={"pk__in": rows}
        )
