"""The project as an app: its checks and commands."""

from django.apps import AppConfig


class StreamsiteConfig(AppConfig):
    name = "streamsite"

    def ready(self) -> None:
        from streamsite.config import checks  # noqa: F401, PLC0415 - registers them
