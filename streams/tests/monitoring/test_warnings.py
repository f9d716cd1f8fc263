"""What will go wrong on air is told once before its time, and cleared by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from media_library.models import MediaItem, PlaylistEntry, PreparedCopy
from streams.models import Block, Channel, Forewarning, OnAirHours
from streams.monitoring import warnings
from streams.monitoring.preflight import findings
from streams.node.preflight_runner import in_the_world
from streams.programme import problems
from streams.tasks import thin_samples, verify_ahead
from streams.tests import rows
from streams.tests.bench.bucket import BUCKET, BucketServer
from streamsite.security.secret import Secret
from streamsite.tests.receiving import Hook

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def media(settings: Settings, tmp_path: Path) -> Path:
    """The folder of the storage, with the two items of the channel in it."""
    settings.MEDIA_ROOT = tmp_path
    # Set anew, so that Django forgets the storage it opened.
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


def told() -> dict[str, str]:
    return {row.subject: row.sentence for row in Forewarning.objects.filter(cleared_at=None)}


def test_a_sound_channel_has_no_warning(channel: Channel) -> None:
    assert verify_ahead() == "0 found, 0 cleared, 0 told."
    assert told() == {}


def test_a_file_that_is_gone_is_found_and_cleared_when_it_is_back(
    channel: Channel, media: Path
) -> None:
    second = MediaItem.objects.get(title="Second")
    (media / "second.mp4").rename(media / "elsewhere")
    assert verify_ahead() == "1 found, 0 cleared, 0 told."
    assert list(told()) == [f"missing-{second.pk}"]
    row = Forewarning.objects.get()
    assert (row.item, row.soft, row.channel) == (second, False, channel)
    # Found again it is the same, at the time at which it airs now.
    assert verify_ahead() == "0 found, 0 cleared, 0 told."
    assert Forewarning.objects.get().found_at == row.found_at
    (media / "elsewhere").rename(media / "second.mp4")
    assert verify_ahead() == "0 found, 1 cleared, 0 told."
    assert told() == {}
    assert Forewarning.objects.get().cleared_at is not None


def test_a_prepared_copy_that_is_gone_is_made_again(channel: Channel, media: Path) -> None:
    second = MediaItem.objects.get(title="Second")
    copies = PreparedCopy.objects.filter(item=second)
    copies.update(key="prepared/second.mp4")
    assert verify_ahead() == "1 found, 0 cleared, 0 told."
    assert list(told()) == [f"waiting-{second.pk}"]
    assert copies.get().status == PreparedCopy.Status.QUEUED
    assert MediaItem.objects.get(pk=second.pk).status == MediaItem.Status.PREPARING
    # Without the original there is nothing to make it of.
    copies.update(status="ready")
    (media / "second.mp4").unlink()
    verify_ahead()
    assert list(told()) == [f"missing-{second.pk}"]
    assert copies.get().status == PreparedCopy.Status.READY


def test_a_storage_out_of_reach_neither_warns_nor_clears(
    channel: Channel, media: Path, settings: Settings
) -> None:
    (media / "second.mp4").unlink()
    verify_ahead()
    before = told()
    assert len(before) == 1
    # The disk is not mounted.
    settings.MEDIA_ROOT = media / "nowhere"
    settings.STORAGES = dict(settings.STORAGES)
    assert verify_ahead() == "0 found, 0 cleared, 0 told."
    assert told() == before


def test_an_empty_mount_point_proves_nothing(channel: Channel, media: Path) -> None:
    """The folder is there, and its disk is not: as the sync's brake has it."""
    mounted = {path: path.read_bytes() for path in media.iterdir()}
    for path in mounted:
        path.unlink()
    assert verify_ahead() == "0 found, 0 cleared, 0 told."
    assert told() == {}
    (storage,) = [check for check in in_the_world(channel, NOON) if check.check == "storage"]
    assert (storage.ok, storage.stops) == (False, False)
    assert storage.sentence == f"The media folder {media.parent} is empty: is its disk mounted?"
    assert storage.sentence in [fault.sentence for fault in findings(channel)]
    # With one file in it, the other is gone.
    first, content = next(iter(sorted(mounted.items())))
    first.write_bytes(content)
    verify_ahead()
    assert list(told()) == [f"missing-{MediaItem.objects.get(title='Second').pk}"]


@pytest.mark.parametrize("of", ["item", "channel"])
def test_what_was_forewarned_of_can_be_deleted_all_the_same(
    channel: Channel, admin_client: Client, of: str
) -> None:
    item = MediaItem.objects.get(title="Second")
    Forewarning.objects.create(
        channel=channel, item=item, subject="x", sentence="Gone.", airs_at=NOON
    )
    channel.runs.update(ended_at=NOON)
    Channel.objects.update(order="off")
    page = f"/admin/streams/channel/{channel.pk}/delete/"
    if of == "item":
        page = f"/admin/media_library/mediaitem/{item.pk}/delete/"
    asked = admin_client.get(page)
    assert not asked.context["perms_lacking"]
    assert admin_client.post(page, {"post": "yes"}).status_code == 302
    assert not Forewarning.objects.exists()
    assert (
        not (MediaItem if of == "item" else Channel)
        .objects.filter(pk=item.pk if of == "item" else channel.pk)
        .exists()
    )


def test_the_lists_deletion_takes_forewarnings_along(
    channel: Channel, admin_client: Client
) -> None:
    item = MediaItem.objects.get(title="Second")
    Forewarning.objects.create(
        channel=channel, item=item, subject="x", sentence="Gone.", airs_at=NOON
    )
    chosen = {"action": "delete_selected", "_selected_action": item.pk, "post": "yes"}
    admin_client.post("/admin/media_library/mediaitem/", chosen)
    assert not MediaItem.objects.filter(pk=item.pk).exists()


@pytest.mark.django_db
def test_the_time_for_asking_the_storage_is_bounded(media: Path) -> None:
    keys = [f"loop of demo/{name}.mp4" for name in ("first", "second", "third")]
    assert warnings.in_storage(keys) == dict(zip(keys, (True, True, False), strict=True))
    assert set(warnings.in_storage(keys, patience=0).values()) == {None}
    # What no object can be called is not there.
    assert warnings.in_storage(["../x"]) == {"../x": False}


def test_what_is_not_prepared_is_told_by_what_becomes_of_it(channel: Channel) -> None:
    first, second = MediaItem.objects.order_by("title")
    PreparedCopy.objects.filter(item=first).update(status="queued", key="", frames=None)
    PreparedCopy.objects.filter(item=second).update(status="fault", fault="No space.")
    verify_ahead()
    found = told()
    assert set(found) == {f"waiting-{first.pk}", f"unprepared-{second.pk}"}
    assert found[f"unprepared-{second.pk}"].endswith("No space.")
    assert Forewarning.objects.get(item=first).soft
    # It fails: another matter, of the same item.
    PreparedCopy.objects.filter(item=first).update(status="cancelled")
    assert verify_ahead() == "1 found, 1 cleared, 0 told."
    assert f"unprepared-{first.pk}" in told()
    # Of a new file a new copy will be made.
    MediaItem.objects.filter(pk=first.pk).update(etag="another", status="new")
    verify_ahead()
    assert f"new-{first.pk}" in told()


def test_a_faulty_item_a_block_and_an_empty_filler_are_told(channel: Channel) -> None:
    second = MediaItem.objects.get(title="Second")
    MediaItem.objects.filter(pk=second.pk).update(status="fault", fault="It is no film.")
    Channel.objects.update(filler=rows.playlist("Net", name="Net"))
    block = Block.objects.create(
        channel=channel, name="Kids", playlist=rows.playlist("Grim", name="Grim"),
        starts=time(0), ends=time(0), max_rating=6, priority=1,
    )  # fmt: skip
    verify_ahead()
    found = told()
    # The base playlist, with its faulty item, has no turn.
    assert set(found) == {f"nothing-block-{block.pk}", "filler"}
    assert "none of its 1 entries is prepared" in found["filler"]
    block.delete()
    verify_ahead()
    assert set(told()) == {f"fault-{second.pk}", "filler"}


def test_channels_that_are_off_are_let_alone_but_for_their_hours(
    channel: Channel, media: Path
) -> None:
    (media / "second.mp4").unlink()
    verify_ahead()
    Channel.objects.update(order="off")
    assert verify_ahead() == "0 found, 1 cleared, 0 told."
    # Whatever time of the day it is, they begin later.
    opens = (timezone.now() + timedelta(hours=3)).hour
    OnAirHours.objects.create(channel=channel, starts=time(opens), ends=time((opens + 2) % 24))
    assert verify_ahead() == "1 found, 0 cleared, 0 told."
    assert Forewarning.objects.filter(cleared_at=None).get().airs_at.hour == opens


def test_an_item_that_was_deleted_takes_its_warning_along(
    channel: Channel, media: Path
) -> None:
    (media / "second.mp4").unlink()
    verify_ahead()
    found = warnings.look_ahead(channel, datetime.now(tz=UTC))
    PlaylistEntry.objects.filter(item__title="Second").delete()
    MediaItem.objects.filter(title="Second").delete()
    assert told() == {}
    # A look that is older than that.
    assert warnings.settle(channel, found, datetime.now(tz=UTC)) == (0, 0)


# ---- telling ---------------------------------------------------------------------------------


@pytest.fixture
def hook(settings: Settings) -> Iterator[Hook]:
    made = Hook("x")
    settings.ALERT_WEBHOOK = Secret(made.address)
    yield made
    made.close()


def test_each_warning_is_told_once_and_again_only_where_nobody_took_it(
    channel: Channel, media: Path, hook: Hook
) -> None:
    PreparedCopy.objects.filter(item__title="First").update(
        status="queued", key="", frames=None
    )
    (media / "second.mp4").unlink()
    hook.status = 500
    # What will be on air all the same is no reason to wake anybody.
    assert verify_ahead() == "2 found, 0 cleared, 0 told."
    hook.status = 204
    assert verify_ahead() == "0 found, 0 cleared, 1 told."
    assert verify_ahead() == "0 found, 0 cleared, 0 told."
    # Not the last of all, or the folder would prove nothing.
    (media / "other.mp4").write_bytes(b"x")
    (media / "first.mp4").unlink()
    assert verify_ahead() == "1 found, 1 cleared, 1 told."
    sent = [body["content"].split("\n") for body in hook.bodies]
    assert [lines[0] for lines in sent] == ["A warning of what is on air next"] * 3
    assert [len(lines) for lines in sent] == [2, 2, 2]
    assert sent[1] == sent[0]
    assert sent[1][1].startswith("• Demo, ")
    assert "“Second” is not in the storage any more" in sent[1][1]
    assert "“First”" in sent[2][1]


# ---- pages -----------------------------------------------------------------------------------


def test_the_channels_page_and_the_list_show_what_is_open(
    channel: Channel, media: Path, client: Client
) -> None:
    client.force_login(rows.user("streams.view_channel", "streams.view_forewarning"))
    assert "nobody sees to it" not in client.get("/admin/monitor/demo/").content.decode()
    (media / "second.mp4").unlink()
    verify_ahead()
    for address in (
        "/admin/monitor/demo/",
        "/channels/demo/panels",
        "/admin/streams/forewarning/",
    ):
        assert "“Second” is not in the storage" in client.get(address).content.decode()
    row = Forewarning.objects.get()
    form = client.get(f"/admin/streams/forewarning/{row.pk}/change/")
    assert form.status_code == 200
    assert 'name="_save"' not in form.content.decode()


def test_more_than_a_page_holds_are_counted(channel: Channel, client: Client) -> None:
    Forewarning.objects.bulk_create(
        Forewarning(channel=channel, subject=f"x{n}", sentence=f"Matter {n}.", airs_at=NOON)
        for n in range(20)
    )
    client.force_login(rows.operator())
    page = client.get("/channels/demo/panels").content.decode()
    assert page.count("Matter ") == 12
    assert "8 more" in page


# ---- with a bucket ---------------------------------------------------------------------------


@pytest.fixture
def bucket(tmp_path: Path, settings: Settings) -> Iterator[BucketServer]:
    """With one object, `there.mp4`."""
    server = BucketServer(tmp_path)
    server.start()
    file = tmp_path / "there.mp4"
    file.write_bytes(b"x")
    server.put(file, "there.mp4")
    for name, value in server.settings().items():
        secret = name == "STORAGE_SECRET_ACCESS_KEY"
        setattr(settings, name, Secret(value) if secret else value)
    # Set anew, so that Django forgets the storage it opened.
    settings.STORAGES = dict(settings.STORAGES)
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.django_db
def test_a_bucket_says_what_it_has_and_one_out_of_reach_says_nothing(
    bucket: BucketServer, settings: Settings
) -> None:
    keys = ["there.mp4", *(f"gone/{number}.mp4" for number in range(30))]
    found = warnings.in_storage(keys)
    assert (found.pop("there.mp4"), set(found.values())) == (True, {False})
    # Another bucket has none of them either, and is not believed.
    settings.STORAGE_BUCKET = "another"
    settings.STORAGES = dict(settings.STORAGES)
    assert set(warnings.in_storage(keys).values()) == {None}
    settings.STORAGE_BUCKET = BUCKET
    settings.STORAGES = dict(settings.STORAGES)
    bucket.kill()
    assert set(warnings.in_storage(keys).values()) == {None}


# ---- keeping house ---------------------------------------------------------------------------


def test_what_was_cleared_long_ago_is_removed(channel: Channel) -> None:
    now = datetime.now(tz=UTC)
    for subject, days in (("old", 31), ("new", 29), ("open", None)):
        cleared = None if days is None else now - timedelta(days=days)
        Forewarning.objects.create(
            channel=channel, subject=subject, sentence="x", airs_at=NOON, cleared_at=cleared
        )
    thin_samples()
    assert set(Forewarning.objects.values_list("subject", flat=True)) == {"new", "open"}


def test_one_channels_trouble_keeps_no_other_from_being_looked_at(
    channel: Channel, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rows.channel("other", order="on", time_zone="Nowhere/Land")
    look_ahead = warnings.look_ahead

    def fails(of: Channel, now: datetime, patience: float) -> problems.Findings:
        if of == other:
            raise ArithmeticError("Nobody thought of it.")
        return look_ahead(of, now, patience)

    monkeypatch.setattr(warnings, "look_ahead", fails)
    (media / "second.mp4").unlink()
    assert verify_ahead().startswith("1 found")
    # A zone that nobody knows is no such trouble.
    monkeypatch.undo()
    verify_ahead()
    assert Forewarning.objects.filter(channel=other).exists()
