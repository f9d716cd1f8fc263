"""`manage.py setup_demo`: an account, a channel and something to play, for the first run."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from media_library.actions import add_file, request_prepare
from media_library.ffmpeg import ToolError
from media_library.models import MediaItem, Playlist, PreparedCopy
from media_library.prepare import PrepareError
from media_library.samples import SAMPLES, make_samples
from media_library.slate import slate
from media_library.storage import StorageError
from media_library.tasks import prepare_item
from streams.actions import ActionRefusedError, start
from streams.models import Channel, Output
from streams.outputs.platforms import PLATFORMS, Platform
from streamsite.address import shown

OPERATOR: Final = "operator"
SLUG: Final = "demo"


class Command(BaseCommand):
    help = "Makes the first account and the Demo channel, and orders it on. Does it once."

    def handle(self, *args: Any, **options: Any) -> None:
        password = make_operator()
        try:
            channel = Channel.objects.filter(slug=SLUG).first()
            if channel is not None:
                give_youtube(channel)
            # Whoever has channels of their own, or had this one and removed it, wants no Demo.
            elif not Channel.objects.exists() and not Playlist.objects.exists():
                self.set_up()
        except (PrepareError, StorageError, ToolError) as error:
            raise CommandError(f"The Demo channel can't be made: {error}") from None
        finally:
            if password:
                self.tell(password)

    def set_up(self) -> None:
        self.say("Making three sample clips and preparing them: about a minute, this once.")
        channel = Channel(name="Demo", slug=SLUG)
        items = [self.item(path, title) for path, title in clips()]
        for item in items:
            self.prepare(item, channel)
        slate(channel.house)
        with transaction.atomic():
            channel.playlist = Playlist.objects.create(name="Demo")
            for position, item in enumerate(items, 1):
                channel.playlist.entries.create(item=item, position=position)
            channel.save()
            give_youtube(channel)
        try:
            start(channel, by="first run", now=timezone.now())
        except ActionRefusedError as refusal:
            self.say(f"The Demo channel was not started: {refusal}")
        else:
            self.say("The Demo channel is ordered on: it plays as soon as streamsite runs.")

    def item(self, path: Path, title: str) -> MediaItem:
        """The clip in the library; one that a broken first run left there is taken up."""
        item = MediaItem.objects.filter(title=title).first() or add_file(path, title=title)
        if item.fault:
            raise CommandError(f"The sample “{title}” can't be used: {item.fault}")
        return item

    def prepare(self, item: MediaItem, channel: Channel) -> None:
        copy = request_prepare(item, channel.house, again=True)
        prepare_item(copy.pk)
        copy.refresh_from_db()
        if copy.status != PreparedCopy.Status.READY:
            # It still plays, encoded on the way; the jobs cluster tries again.
            self.say(f"“{item}” is not prepared yet. {copy.fault}")
        else:
            self.say(f"  “{item}” is prepared.")

    def tell(self, password: str) -> None:
        known = settings.ADMIN_PASSWORD
        self.say(
            "\n"
            f"  Address   {shown(settings.HOST, settings.PORT)}\n"
            f"  Account   {OPERATOR}\n"
            f"  Password  {'the one in ADMIN_PASSWORD' if known else password}\n"
            + ("" if known else "            Write it down: it is shown this once.\n")
        )

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def make_operator() -> str:
    """The operator's account with every right; its password, or nothing where it is there."""
    users = get_user_model()._default_manager  # noqa: SLF001 - the documented way to it
    if users.filter(username=OPERATOR).exists():
        return ""
    password = settings.ADMIN_PASSWORD.reveal() or secrets.token_urlsafe(12)
    get_user_model().objects.create_superuser(OPERATOR, password=password)
    return password


def clips() -> list[tuple[Path, str]]:
    """The sample clips, made on this machine, and their titles."""
    paths = make_samples(settings.DATA_DIR / "samples", settings.FFMPEG_PATH)
    return [(path, sample.title) for path, sample in zip(paths, SAMPLES, strict=True)]


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
