"""Admin of the tags, the labels on items."""

from __future__ import annotations

from django.contrib import admin
from unfold.admin import ModelAdmin

from media_library.models import Tag
from streamsite.api.audit import WithKeys


@admin.register(Tag)
class TagAdmin(WithKeys, ModelAdmin):
    list_display = ("name",)
    search_fields = ("name",)
    show_full_result_count = False
