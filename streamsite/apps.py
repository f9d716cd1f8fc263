"""The project as an app: its checks and commands."""

from django.apps import AppConfig


class StreamsiteConfig(AppConfig):
    name = "streamsite"

    def ready(self) -> None:
        # Imported late: models can be imported from here on.
        from streamsite.accounts import audit_log  # noqa: PLC0415 - see above
        from streamsite.config import checks  # noqa: F401, PLC0415 - registers them
        from streamsite.notifications import channels, events  # noqa: PLC0415 - see above
        from streamsite.webhooks import outbox  # noqa: PLC0415 - see above

        audit_log.connect()
        events.subscribe("webhooks", outbox.sink)
        events.subscribe("alerts", channels.sink)
