"""The Demo channel: there at once, its clips made in the background."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from media_library.actions import add_file
from media_library.conform import sample_clips
from media_library.ffmpeg.runner import ToolError
from media_library.models import MediaItem, Playlist
from streams.control import demo
from streams.models import Channel, Output
from streams.monitoring.preflight import MAKING_SAMPLES, findings
from streams.tasks import make_samples
from streamsite.security.secret import Secret

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of a second."""
    monkeypatch.setattr(sample_clips.make, "__defaults__", ("ffmpeg", 1))


def test_the_channel_is_there_at_once_and_says_what_it_waits_for(admin_client: Client) -> None:
    call_command("setup_demo")
    channel = Channel.objects.get()
    assert (channel.slug, channel.order) == ("demo", "off")
    assert [f.sentence for f in findings(channel) if f.check == "programme"] == [MAKING_SAMPLES]
    assert OrmQ.objects.count() == 1
    for page in ("/admin/", reverse("monitor", args=["demo"])):
        assert "sample clips are being made" in admin_client.get(page).content.decode()
    # Once: neither a second channel nor a second order.
    call_command("setup_demo")
    assert (Channel.objects.count(), Schedule.objects.count()) == (1, 1)


def test_the_address_of_its_output_may_hold_no_secret() -> None:
    address = "rtmps://h.example/live2?token=t0ken-of-youtube"
    given = {"YOUTUBE_STREAM_KEY": Secret("a-key"), "YOUTUBE_RTMP_URL": address}
    with override_settings(**given), pytest.raises(CommandError) as refused:
        call_command("setup_demo")
    assert "into the secret parameters" in str(refused.value)
    assert "t0ken" not in str(refused.value)
    assert not Output.objects.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg", "short")
def test_what_a_worker_left_is_taken_up_and_the_first_clip_starts_the_channel() -> None:
    channel = demo.order()
    # A worker was killed after it had put the first clip into the library.
    first = sample_clips.SAMPLES[0]
    add_file(sample_clips.make(first, settings.DATA_DIR / "samples"), title=first.title)
    assert make_samples() == "3 made."
    channel.refresh_from_db()
    assert channel.order == "on"
    titles = [entry.item.title for entry in Playlist.objects.get().entries.all()]
    assert titles == [sample.title for sample in sample_clips.SAMPLES]
    assert not sample_clips.being_made()
    assert set(MediaItem.objects.values_list("status", flat=True)) == {"ready"}
    assert make_samples() == "0 made."


def test_who_removed_the_channel_wants_no_clips() -> None:
    demo.order().delete()
    assert make_samples() == "0 made."
    assert not sample_clips.being_made()


def test_a_job_that_fails_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ToolError("No such file: ffmpeg")

    demo.order()
    monkeypatch.setattr("streams.control.demo.samples.make", refused)
    with pytest.raises(ToolError):
        make_samples()
    assert Schedule.objects.get().next_run <= timezone.now() + timedelta(minutes=1)
