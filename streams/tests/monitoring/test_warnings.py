"""Upcoming problems are detected, notified once, and cleared automatically."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from media_library.models import MediaItem, PlaylistEntry, PreparedCopy
from streams.models import Block, Channel, OnAirHours, UpcomingProblem
from streams.monitoring import warnings
from streams.monitoring.preflight import findings
from streams.node.preflight_runner import in_the_world
from streams.programme import problems
from streams.tasks import verify_ahead
from streams.tests import rows
from streams.tests.bench.bucket import BUCKET, BucketServer
from streamsite.security.secret import Secret
from streamsite.tests.receiving import Hook

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def media(settings: Settings, tmp_path: Path) -> Path:
    """The storage folder with the channel's two items."""
    settings.MEDIA_ROOT = tmp_path
    # Set again, so that Django discards the storage object it has opened.
    settings.STORAGES = dict(settings.STORAGES)
    folder = tmp_path / "loop of demo"
    folder.mkdir()
    for name in ("first", "second"):
        (folder / f"{name}.mp4").write_bytes(b"x")
    return folder


@pytest.fixture
def channel(db: None, media: Path) -> Channel:
    made = rows.channel()
    rows.on_air(made)
    for item in MediaItem.objects.all():
        PreparedCopy.objects.create(
            item=item,
            house_format=made.house_format.signature,
            key=item.key,
            frames=1600,
            status="ready",
        )
    return made


def open_problems() -> dict[str, str]:
    return {
        row.subject: row.sentence for row in UpcomingProblem.objects.filter(cleared_at=None)
    }


def test_a_channel_without_faults_has_no_problems(channel: Channel) -> None:
    assert verify_ahead() == "0 detected, 0 cleared, 0 notified."
    assert open_problems() == {}


def test_a_missing_file_is_detected_and_cleared_when_it_is_back(
    channel: Channel, media: Path
) -> None:
    second = MediaItem.objects.get(title="Second")
    (media / "second.mp4").rename(media / "elsewhere")
    assert verify_ahead() == "1 detected, 0 cleared, 0 notified."
    assert list(open_problems()) == [f"missing-{second.pk}"]
    row = UpcomingProblem.objects.get()
    assert (row.item, row.soft, row.channel) == (second, False, channel)
    # Detected again, it is the same row, with the new time on air.
    assert verify_ahead() == "0 detected, 0 cleared, 0 notified."
    assert UpcomingProblem.objects.get().detected_at == row.detected_at
    (media / "elsewhere").rename(media / "second.mp4")
    assert verify_ahead() == "0 detected, 1 cleared, 0 notified."
    assert open_problems() == {}
    assert UpcomingProblem.objects.get().cleared_at is not None


def test_a_missing_prepared_copy_is_made_again(channel: Channel, media: Path) -> None:
    second = MediaItem.objects.get(title="Second")
    copies = PreparedCopy.objects.filter(item=second)
    copies.update(key="prepared/second.mp4")
    assert verify_ahead() == "1 detected, 0 cleared, 0 notified."
    assert list(open_problems()) == [f"waiting-{second.pk}"]
    assert copies.get().status == PreparedCopy.Status.QUEUED
    assert MediaItem.objects.get(pk=second.pk).status == MediaItem.Status.PREPARING
    # Without the original no copy can be made.
    copies.update(status="ready")
    (media / "second.mp4").unlink()
    verify_ahead()
    assert list(open_problems()) == [f"missing-{second.pk}"]
    assert copies.get().status == PreparedCopy.Status.READY


def test_an_unreachable_storage_neither_opens_nor_clears_problems(
    channel: Channel, media: Path, settings: Settings
) -> None:
    (media / "second.mp4").unlink()
    verify_ahead()
    before = open_problems()
    assert len(before) == 1
    # The disk is not mounted.
    settings.MEDIA_ROOT = media / "nowhere"
    settings.STORAGES = dict(settings.STORAGES)
    assert verify_ahead() == "0 detected, 0 cleared, 0 notified."
    assert open_problems() == before


def test_an_empty_mount_point_opens_no_problems(channel: Channel, media: Path) -> None:
    """The folder exists, but its disk is not mounted, as the sync's deletion guard detects."""
    mounted = {path: path.read_bytes() for path in media.iterdir()}
    for path in mounted:
        path.unlink()
    assert verify_ahead() == "0 detected, 0 cleared, 0 notified."
    assert open_problems() == {}
    (storage,) = [check for check in in_the_world(channel, NOON) if check.check == "storage"]
    assert (storage.ok, storage.stops) == (False, False)
    assert storage.sentence == f"The media folder {media.parent} is empty: is its disk mounted?"
    assert storage.sentence in [fault.sentence for fault in findings(channel)]
    # With one file present, the other one is missing.
    first, content = next(iter(sorted(mounted.items())))
    first.write_bytes(content)
    verify_ahead()
    assert list(open_problems()) == [f"missing-{MediaItem.objects.get(title='Second').pk}"]


@pytest.mark.parametrize("of", ["item", "channel"])
def test_items_and_channels_with_problems_can_be_deleted(
    channel: Channel, admin_client: Client, of: str
) -> None:
    item = MediaItem.objects.get(title="Second")
    UpcomingProblem.objects.create(
        channel=channel, item=item, subject="x", sentence="Gone.", airs_at=NOON
    )
    channel.runs.update(ended_at=NOON)
    Channel.objects.update(desired_state="off")
    page = f"/admin/streams/channel/{channel.pk}/delete/"
    if of == "item":
        page = f"/admin/media_library/mediaitem/{item.pk}/delete/"
    answer = admin_client.get(page)
    assert not answer.context["perms_lacking"]
    assert admin_client.post(page, {"post": "yes"}).status_code == 302
    assert not UpcomingProblem.objects.exists()
    assert (
        not (MediaItem if of == "item" else Channel)
        .objects.filter(pk=item.pk if of == "item" else channel.pk)
        .exists()
    )


def test_bulk_deletion_includes_upcoming_problems(
    channel: Channel, admin_client: Client
) -> None:
    item = MediaItem.objects.get(title="Second")
    UpcomingProblem.objects.create(
        channel=channel, item=item, subject="x", sentence="Gone.", airs_at=NOON
    )
    chosen = {"action": "delete_selected", "_selected_action": item.pk, "post": "yes"}
    admin_client.post("/admin/media_library/mediaitem/", chosen)
    assert not MediaItem.objects.filter(pk=item.pk).exists()


@pytest.mark.django_db
def test_storage_requests_have_a_time_limit(media: Path) -> None:
    keys = [f"loop of demo/{name}.mp4" for name in ("first", "second", "third")]
    assert warnings.in_storage(keys) == dict(zip(keys, (True, True, False), strict=True))
    assert set(warnings.in_storage(keys, timeout_s=0).values()) == {None}
    # A name that no object can have counts as missing.
    assert warnings.in_storage(["../x"]) == {"../x": False}


def test_unprepared_items_are_reported_by_the_state_of_their_copy(channel: Channel) -> None:
    first, second = MediaItem.objects.order_by("title")
    PreparedCopy.objects.filter(item=first).update(status="queued", key="", frames=None)
    PreparedCopy.objects.filter(item=second).update(status="fault", fault="No space.")
    verify_ahead()
    problems = open_problems()
    assert set(problems) == {f"waiting-{first.pk}", f"unprepared-{second.pk}"}
    assert problems[f"unprepared-{second.pk}"].endswith("No space.")
    assert UpcomingProblem.objects.get(item=first).soft
    # It fails: another problem of the same item.
    PreparedCopy.objects.filter(item=first).update(status="cancelled")
    assert verify_ahead() == "1 detected, 1 cleared, 0 notified."
    assert f"unprepared-{first.pk}" in open_problems()
    # A new file will get a new copy.
    MediaItem.objects.filter(pk=first.pk).update(etag="another", status="new")
    verify_ahead()
    assert f"new-{first.pk}" in open_problems()


def test_faulty_items_blocks_and_an_empty_filler_are_reported(channel: Channel) -> None:
    second = MediaItem.objects.get(title="Second")
    MediaItem.objects.filter(pk=second.pk).update(status="fault", fault="It is no film.")
    Channel.objects.update(filler=rows.playlist("Net", name="Net"))
    block = Block.objects.create(
        channel=channel, name="Kids", playlist=rows.playlist("Grim", name="Grim"),
        starts=time(0), ends=time(0), max_rating=6, priority=1,
    )  # fmt: skip
    verify_ahead()
    problems = open_problems()
    # The base playlist with its faulty item does not play.
    assert set(problems) == {f"nothing-block-{block.pk}", "filler"}
    assert "none of its 1 entries is prepared" in problems["filler"]
    block.delete()
    verify_ahead()
    assert set(open_problems()) == {f"fault-{second.pk}", "filler"}


def test_channels_that_are_off_are_checked_only_with_hours(
    channel: Channel, media: Path
) -> None:
    (media / "second.mp4").unlink()
    verify_ahead()
    Channel.objects.update(desired_state="off")
    assert verify_ahead() == "0 detected, 1 cleared, 0 notified."
    # At any time of the day, they start later.
    opens = (timezone.now() + timedelta(hours=3)).hour
    OnAirHours.objects.create(channel=channel, starts=time(opens), ends=time((opens + 2) % 24))
    assert verify_ahead() == "1 detected, 0 cleared, 0 notified."
    assert UpcomingProblem.objects.filter(cleared_at=None).get().airs_at.hour == opens


def test_a_deleted_items_problem_is_deleted_with_it(channel: Channel, media: Path) -> None:
    (media / "second.mp4").unlink()
    verify_ahead()
    result = warnings.check_channel(channel, datetime.now(tz=UTC))
    PlaylistEntry.objects.filter(item__title="Second").delete()
    MediaItem.objects.filter(title="Second").delete()
    assert open_problems() == {}
    # The result of an earlier check.
    assert warnings.settle(channel, result, datetime.now(tz=UTC)) == (0, 0)


# ---- notifying -------------------------------------------------------------------------------


@pytest.fixture
def hook(settings: Settings) -> Iterator[Hook]:
    made = Hook("x")
    settings.ALERT_WEBHOOK = Secret(made.address)
    yield made
    made.close()


def test_every_problem_is_sent_once_and_resent_after_a_failure(
    channel: Channel, media: Path, hook: Hook
) -> None:
    PreparedCopy.objects.filter(item__title="First").update(
        status="queued", key="", frames=None
    )
    (media / "second.mp4").unlink()
    hook.status = 500
    # Soft problems are not sent.
    assert verify_ahead() == "2 detected, 0 cleared, 0 notified."
    hook.status = 204
    assert verify_ahead() == "0 detected, 0 cleared, 1 notified."
    assert verify_ahead() == "0 detected, 0 cleared, 0 notified."
    # Another file must remain, or the folder would count as unmounted.
    (media / "other.mp4").write_bytes(b"x")
    (media / "first.mp4").unlink()
    assert verify_ahead() == "1 detected, 1 cleared, 1 notified."
    sent = [body["text"].split("\n") for body in hook.bodies]
    assert [lines[0] for lines in sent] == ["An upcoming problem on air"] * 3
    assert [len(lines) for lines in sent] == [2, 2, 2]
    assert sent[1] == sent[0]
    assert sent[1][1].startswith("• Demo, ")
    assert "“Second” is not in the storage any more" in sent[1][1]
    assert "“First”" in sent[2][1]


# ---- pages -----------------------------------------------------------------------------------


def test_the_channels_page_and_the_list_show_open_problems(
    channel: Channel, media: Path, client: Client
) -> None:
    client.force_login(rows.user("streams.view_channel", "streams.view_upcomingproblem"))
    assert "problems-title" not in client.get("/admin/monitor/demo/").content.decode()
    (media / "second.mp4").unlink()
    verify_ahead()
    for address in (
        "/admin/monitor/demo/",
        "/channels/demo/panels",
        "/admin/streams/upcomingproblem/",
    ):
        assert "“Second” is not in the storage" in client.get(address).content.decode()
    row = UpcomingProblem.objects.get()
    form = client.get(f"/admin/streams/upcomingproblem/{row.pk}/change/")
    assert form.status_code == 200
    assert 'name="_save"' not in form.content.decode()


def test_problems_beyond_the_page_are_counted(channel: Channel, client: Client) -> None:
    UpcomingProblem.objects.bulk_create(
        UpcomingProblem(channel=channel, subject=f"x{n}", sentence=f"Matter {n}.", airs_at=NOON)
        for n in range(20)
    )
    client.force_login(rows.operator())
    page = client.get("/channels/demo/panels").content.decode()
    assert page.count("Matter ") == 12
    assert "8 more" in page


# ---- with a bucket ---------------------------------------------------------------------------


@pytest.fixture
def bucket(tmp_path: Path, settings: Settings) -> Iterator[BucketServer]:
    """A bucket with one object, `there.mp4`."""
    server = BucketServer(tmp_path)
    server.start()
    file = tmp_path / "there.mp4"
    file.write_bytes(b"x")
    server.put(file, "there.mp4")
    for name, value in server.settings().items():
        secret = name == "STORAGE_SECRET_ACCESS_KEY"
        setattr(settings, name, Secret(value) if secret else value)
    # Set again, so that Django discards the storage object it has opened.
    settings.STORAGES = dict(settings.STORAGES)
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.django_db
def test_bucket_objects_exist_or_not_and_are_unknown_if_unreachable(
    bucket: BucketServer, settings: Settings
) -> None:
    keys = ["there.mp4", *(f"gone/{number}.mp4" for number in range(30))]
    exists = warnings.in_storage(keys)
    assert (exists.pop("there.mp4"), set(exists.values())) == (True, {False})
    # A different bucket has none of the objects, and is treated as unreachable.
    settings.STORAGE_BUCKET = "another"
    settings.STORAGES = dict(settings.STORAGES)
    assert set(warnings.in_storage(keys).values()) == {None}
    settings.STORAGE_BUCKET = BUCKET
    settings.STORAGES = dict(settings.STORAGES)
    bucket.kill()
    assert set(warnings.in_storage(keys).values()) == {None}


def test_an_error_in_one_channel_does_not_block_the_check_of_others(
    channel: Channel, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rows.channel("other", desired_state="on", time_zone="Nowhere/Land")
    check_channel = warnings.check_channel

    def fails(of: Channel, now: datetime, timeout_s: float) -> problems.Findings:
        if of == other:
            raise ArithmeticError("Nobody thought of it.")
        return check_channel(of, now, timeout_s)

    monkeypatch.setattr(warnings, "check_channel", fails)
    (media / "second.mp4").unlink()
    assert verify_ahead().startswith("1 detected")
    # An unknown time zone is no error.
    monkeypatch.undo()
    verify_ahead()
    assert UpcomingProblem.objects.filter(channel=other).exists()
