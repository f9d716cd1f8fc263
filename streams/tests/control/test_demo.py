"""The Demo channel exists at once; its clips are made in the background."""

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
    """Clips of one second."""
    monkeypatch.setattr(sample_clips.make, "__defaults__", ("ffmpeg", 1))


def test_the_demo_channel_exists_at_once_and_explains_its_wait(admin_client: Client) -> None:
    call_command("setup_demo")
    channel = Channel.objects.get()
    assert (channel.slug, channel.desired_state) == ("demo", "off")
    assert [f.sentence for f in findings(channel) if f.check == "programme"] == [MAKING_SAMPLES]
    assert OrmQ.objects.count() == 1
    for page in ("/admin/", reverse("monitor", args=["demo"])):
        assert "sample clips are being made" in admin_client.get(page).content.decode()
    # The second call creates neither a channel nor an order.
    call_command("setup_demo")
    assert (Channel.objects.count(), Schedule.objects.count()) == (1, 1)


def test_the_demo_outputs_address_must_not_hold_a_secret() -> None:
    address = "rtmps://h.example/live2?token=t0ken-of-youtube"
    given = {"YOUTUBE_STREAM_KEY": Secret("a-key"), "YOUTUBE_RTMP_URL": address}
    with override_settings(**given), pytest.raises(CommandError) as refused:
        call_command("setup_demo")
    assert "into the secret parameters" in str(refused.value)
    assert "t0ken" not in str(refused.value)
    assert not Output.objects.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg", "short")
def test_a_leftover_item_is_reused_and_the_first_clip_starts_the_channel() -> None:
    channel = demo.order()
    # A worker was killed after it had added the first clip to the library.
    first = sample_clips.SAMPLES[0]
    add_file(sample_clips.make(first, settings.DATA_DIR / "samples"), title=first.title)
    assert make_samples() == "3 made."
    channel.refresh_from_db()
    assert channel.desired_state == "on"
    titles = [entry.item.title for entry in Playlist.objects.get().entries.all()]
    assert titles == [sample.title for sample in sample_clips.SAMPLES]
    assert not sample_clips.being_made()
    assert set(MediaItem.objects.values_list("status", flat=True)) == {"ready"}
    assert make_samples() == "0 made."


def test_no_clips_are_made_for_a_deleted_channel() -> None:
    demo.order().delete()
    assert make_samples() == "0 made."
    assert not sample_clips.being_made()


def test_a_failed_job_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ToolError("No such file: ffmpeg")

    demo.order()
    monkeypatch.setattr("streams.control.demo.sample_clips.make", refused)
    with pytest.raises(ToolError):
        make_samples()
    assert Schedule.objects.get().next_run <= timezone.now() + timedelta(minutes=1)
