"""App configuration of the channels. It registers their system checks, and the roles."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class StreamsConfig(AppConfig):
    name = "streams"
    verbose_name = "Channels"

    def ready(self) -> None:
        from streams import checks  # noqa: F401, PLC0415 - registers them
        from streams.alerts import outbox  # noqa: PLC0415 - models can be imported now
        from streamsite.accounts import groups  # noqa: PLC0415 - see above
        from streamsite.notifications import events  # noqa: PLC0415 - see above

        events.subscribe("receivers", outbox.sink)

        # After the last app's own, which makes the permissions that the roles name.
        post_migrate.connect(groups.keep_in_step, sender=self)
