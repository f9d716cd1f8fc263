from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class MediaLibraryConfig(AppConfig):
    name = "media_library"
    verbose_name = "Library"

    def ready(self) -> None:
        post_migrate.connect(schedule_sweep, sender=self)


def schedule_sweep(*, using: str, **_: object) -> None:
    """Have the jobs cluster sweep every minute. django-q2 keeps schedules in its own table."""
    from django_q.models import Schedule  # noqa: PLC0415 - models can't be imported earlier

    if "django_q_schedule" not in connections[using].introspection.table_names():
        # Only this app was migrated; the next whole migrate schedules it.
        return
    Schedule.objects.get_or_create(
        name="sweep_library",
        defaults={
            "func": "media_library.tasks.sweep_library",
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
        },
    )
