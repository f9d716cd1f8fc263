"""The queue's tables in the admin: to be read, never written.

django-q's own pages take the name of any function and run it, and send a task again without
asking for a permission. `run_cluster` lists the tasks; jobs are ordered and repeated on
the pages of their objects.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import truncatechars
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_q.models import Failure, OrmQ, Schedule, Success, Task
from unfold.admin import ModelAdmin

from streamsite.api.audit import ReadOnly

# Those of django-otp show the secrets of second factors.
for model in (Failure, OrmQ, Schedule, Success, StaticDevice, TOTPDevice):
    # django-q2 registers the queue only where it is in the database.
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class ReadOnlyAdmin(ReadOnly, ModelAdmin):
    """Nobody adds, changes or deletes, and there are no actions."""

    show_full_result_count = False
    list_per_page = 50

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # unfold does not heed `actions = None`.
        return {}


@admin.register(Success, Failure)
class TaskAdmin(ReadOnlyAdmin):
    """Tasks that the clusters have run, and their results."""

    list_display = ("name", "func", "cluster", "started", "stopped", "outcome")
    list_filter = ("cluster",)
    search_fields = ("name", "func")
    fields = ("name", "func", "cluster", "started", "stopped", "success", "attempt_count")

    @admin.display(description="Result")
    def outcome(self, task: Task) -> str:
        return truncatechars(str(task.result or ""), 100)


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    """Schedules of the jobs cluster."""

    list_display = ("name", "func", "minutes", "cluster", "next_run")
    fields = ("name", "func", "schedule_type", "minutes", "repeats", "cluster", "next_run")


@admin.register(OrmQ)
class QueueAdmin(ReadOnlyAdmin):
    """Messages that wait for a worker."""

    list_display = ("key", "func", "lock")
    fields = ("key", "func", "lock")
