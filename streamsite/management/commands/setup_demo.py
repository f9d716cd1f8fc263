"""`manage.py setup_demo`: an account, a channel and something to play, for the first run."""

from __future__ import annotations

import secrets
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from media_library.models import Playlist
from streams.control import demo
from streams.models import Channel, Output
from streams.outputs.platforms import PLATFORMS, Platform
from streamsite.security.urls import shown

OPERATOR: Final = "operator"


class Command(BaseCommand):
    help = "Makes the first account and the Demo channel, and orders it on. Does it once."

    def handle(self, *args: Any, **options: Any) -> None:
        password = make_operator()
        try:
            channel = Channel.objects.filter(slug=demo.SLUG).first()
            if channel is not None:
                give_youtube(channel)
            # An installation with channels, or one whose Demo was removed, gets no Demo.
            elif not Channel.objects.exists() and not Playlist.objects.exists():
                with transaction.atomic():
                    give_youtube(demo.order())
                self.print_line(
                    "streamsite: the Demo channel's sample clips are made in the background; "
                    "it goes on the air by itself in a minute or two"
                )
        finally:
            if password:
                self.print_result(password)

    def print_result(self, password: str) -> None:
        existing = settings.ADMIN_PASSWORD
        self.print_line(
            "\n"
            f"  Address   {shown(settings.HOST, settings.PORT)}\n"
            f"  Account   {OPERATOR}\n"
            f"  Password  {'the one in ADMIN_PASSWORD' if existing else password}\n"
            + ("" if existing else "            Write it down: it is shown this once.\n")
        )

    def print_line(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def make_operator() -> str:
    """The operator's account with every right; its password, or nothing where it is there."""
    users = get_user_model()._default_manager
    if users.filter(username=OPERATOR).exists():
        return ""
    password = settings.ADMIN_PASSWORD.reveal() or secrets.token_urlsafe(12)
    get_user_model().objects.create_superuser(OPERATOR, password=password)
    return password


def give_youtube(channel: Channel) -> None:
    """See to it that the channel goes to YouTube with the key of YOUTUBE_STREAM_KEY, if any.

    Raises `CommandError` for an address that can't be used.
    """
    key = settings.YOUTUBE_STREAM_KEY
    if not key:
        return
    output = channel.outputs.filter(name="YouTube").first() or Output(
        channel=channel, name="YouTube", platform=Platform.YOUTUBE.value
    )
    usual = PLATFORMS[Platform.YOUTUBE].url
    url = "" if usual == settings.YOUTUBE_RTMP_URL else settings.YOUTUBE_RTMP_URL
    if output.pk and (output.key, output.url) == (key, url):
        return
    output.key, output.url = key, url
    try:
        output.clean()
    except ValidationError as error:
        raise CommandError(f"YOUTUBE_RTMP_URL: {' '.join(error.messages)}") from None
    output.save()
