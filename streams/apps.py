"""App configuration of the channels. It registers their system checks."""

from django.apps import AppConfig


class StreamsConfig(AppConfig):
    name = "streams"
    verbose_name = "Channels"

    def ready(self) -> None:
        from streams import checks  # noqa: F401, PLC0415 - registers them
