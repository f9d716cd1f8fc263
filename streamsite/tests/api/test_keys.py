"""Keys of the API: minted once, shown once, refused when they are not good any more."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from streams.tests import rows
from streamsite.accounts.models import AuditEntry
from streamsite.api import keys
from streamsite.api.keys import KeyRefusedError
from streamsite.api.models import ApiKey
from streamsite.api.permissions import KeyPermission
from streamsite.security.secret import Secret

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = "203.0.113.7"
SHOWN = re.compile(r"<code data-key>(ssk_[A-Za-z0-9_-]{43})</code>")


def minted(**fields: object) -> tuple[ApiKey, Secret]:
    given = {"by": "ada", "now": NOW} | fields
    return keys.mint("Robot", KeyPermission.READ_ONLY, **given)  # type: ignore[arg-type]  # fields of any type, or wrong on purpose


def refusal(key: Secret, *, address: str = HERE, now: datetime = NOW) -> str:
    with pytest.raises(KeyRefusedError) as refused:
        keys.authenticate(key, address=address, now=now)
    return refused.value.reason


def test_a_key_is_256_bits_and_only_its_digest_is_kept() -> None:
    row, key = minted()
    plain = key.reveal()
    assert re.fullmatch(r"ssk_[A-Za-z0-9_-]{43}", plain)
    assert row.prefix == plain[:10]
    stored = ApiKey.objects.filter(pk=row.pk).values().get()
    assert plain not in str(stored)
    assert keys.authenticate(key, address=HERE, now=NOW).pk == row.pk
    assert minted()[1] != key


def test_keys_that_are_not_taken() -> None:
    row, key = minted(expires_at=NOW + timedelta(hours=1))
    assert refusal(Secret(key.reveal()[:-1])) == "unknown"
    assert refusal(Secret("ünknown \ud800")) == "unknown"
    assert refusal(key, now=NOW + timedelta(hours=1)) == "expired"
    assert keys.revoke(row, by="ada", now=NOW)
    assert not keys.revoke(row, by="bob", now=NOW)
    assert refusal(key) == "revoked"
    assert ApiKey.objects.get().revoked_by == "ada"


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("203.0.113.7", True),
        ("::ffff:203.0.113.7", True),
        ("203.0.113.8", False),
        ("10.200.3.4", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("unix", False),
    ],
)
def test_addresses_a_key_is_taken_from(address: str, *, taken: bool) -> None:
    _, key = minted(allowed_addresses=["203.0.113.7", "10.0.0.0/8", "2001:db8::/32"])
    if taken:
        keys.authenticate(key, address=address, now=NOW)
    else:
        assert refusal(key, address=address) == "address"


def test_what_is_no_address_is_refused_at_minting() -> None:
    with pytest.raises(ValidationError, match=r"10\.0\.0\.0/99 is no address"):
        minted(allowed_addresses=["10.0.0.0/99"])
    assert not ApiKey.objects.exists()


def test_the_last_use_is_written_once_a_minute() -> None:
    row, key = minted()

    def used(seconds: int, address: str) -> tuple[datetime | None, str]:
        keys.authenticate(key, address=address, now=NOW + timedelta(seconds=seconds))
        row.refresh_from_db()
        return row.last_used_at, row.last_address

    assert used(0, HERE) == (NOW, HERE)
    assert used(59, "203.0.113.8") == (NOW, HERE)
    assert used(60, "203.0.113.8") == (NOW + timedelta(minutes=1), "203.0.113.8")


def test_the_database_refuses_unknown_permissions() -> None:
    row, _ = minted()
    with pytest.raises(IntegrityError, match="api_key_permissions_are_known"):
        ApiKey.objects.filter(pk=row.pk).update(permissions="ROOT")


@pytest.mark.parametrize(
    ("headers", "result"),
    [
        ({"Authorization": "Bearer abc"}, "abc"),
        ({"Authorization": "bearer  abc "}, "abc"),
        ({"X-API-Key": "abc"}, "abc"),
        ({"Authorization": "Basic abc", "X-API-Key": "def"}, "def"),
        ({"Authorization": "Bearer"}, None),
        ({}, None),
    ],
)
def test_where_a_key_is_sent(headers: dict[str, str], result: str | None) -> None:
    key = keys.sent(headers)
    assert (key.reveal() if key else None) == result


def test_permissions_include_those_below() -> None:
    levels = list(KeyPermission)
    for rank, level in enumerate(levels):
        assert [level.includes(other) for other in levels] == [
            other <= rank for other in range(len(levels))
        ]


# ---- the command -----------------------------------------------------------------------------


def test_the_command_prints_the_key_last() -> None:
    out = StringIO()
    call_command("create_api_key", "Robot", "--permissions", "ADMIN", "--days", "1", stdout=out)
    *_, last = out.getvalue().splitlines()
    row = keys.authenticate(Secret(last), address=HERE, now=timezone.now())
    assert (row.name, row.permissions, row.created_by) == ("Robot", "ADMIN", "create_api_key")
    assert row.expires_at is not None
    entry = AuditEntry.objects.get()
    assert entry.sentence == f"API key {row} minted."
    assert entry.who.endswith("(command)")


def test_the_command_refuses_in_a_sentence() -> None:
    with pytest.raises(CommandError, match="is no address"):
        call_command("create_api_key", "Robot", "--address", "here")
    with pytest.raises(CommandError, match="--days is too many"):
        call_command("create_api_key", "Robot", "--days", "1e9")
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("create_api_key", "Robot", "--level", "ROOT")
    assert not ApiKey.objects.exists()


# ---- the pages -------------------------------------------------------------------------------

FORM = {
    "name": "Robot",
    "permissions": "DOWNLOAD",
    "allowed_addresses": "10.0.0.0/8, 203.0.113.7",
    "requests_per_minute": 60,
    "concurrent_downloads": 2,
}


def test_the_admin_mints_a_key_and_shows_it_once(admin_client: Client) -> None:
    answer = admin_client.post(reverse("admin:streamsite_apikey_add"), FORM)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    result = SHOWN.search(answer.content.decode())
    assert result
    row = keys.authenticate(Secret(result[1]), address="10.1.2.3", now=timezone.now())
    assert (row.permissions, row.requests_per_minute) == ("DOWNLOAD", 60)
    assert row.allowed_addresses == ["10.0.0.0/8", "203.0.113.7"]
    assert row.created_by == "admin"
    listed = admin_client.get(reverse("admin:streamsite_apikey_changelist")).content.decode()
    shown = admin_client.get(reverse("admin:streamsite_apikey_change", args=[row.pk]))
    history = admin_client.get(reverse("admin:streamsite_apikey_history", args=[row.pk]))
    assert f"{row.prefix}…" in listed
    for page in (listed, shown.content.decode(), history.content.decode()):
        assert result[1] not in page
        assert row.digest not in page
    assert LogEntry.objects.get().object_id == str(row.pk)


def test_a_form_with_a_mistake_mints_nothing(admin_client: Client) -> None:
    add = reverse("admin:streamsite_apikey_add")
    for wrong in (
        {"allowed_addresses": "everywhere"},
        {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
        {"requests_per_minute": 0},
        {"permissions": "ROOT"},
    ):
        answer = admin_client.post(add, FORM | wrong)
        assert answer.status_code == 200
        assert not SHOWN.search(answer.content.decode())
    assert not ApiKey.objects.exists()


def test_the_admin_requests_back_and_revokes(admin_client: Client) -> None:
    row, key = minted()
    url = reverse("admin:streamsite_apikey_revoke", args=[row.pk])
    assert "refused from now on" in admin_client.get(url).content.decode()
    keys.authenticate(key, address=HERE, now=NOW)
    assert admin_client.post(url, follow=True).status_code == 200
    assert refusal(key) == "revoked"
    assert LogEntry.objects.get().change_message == "Revoked."


def test_who_may_only_check_revokes_nothing(client: Client) -> None:
    row, key = minted()
    client.force_login(rows.user("streamsite.view_apikey"))
    url = reverse("admin:streamsite_apikey_revoke", args=[row.pk])
    page = client.post(url, follow=True).content.decode()
    assert "no permission to revoke" in page
    keys.authenticate(key, address=HERE, now=NOW)
    assert client.get(reverse("admin:streamsite_apikey_add")).status_code == 403


def test_keys_are_neither_changed_nor_deleted(admin_client: Client) -> None:
    row, _ = minted()
    change = reverse("admin:streamsite_apikey_change", args=[row.pk])
    assert admin_client.post(change, FORM).status_code == 403
    delete = reverse("admin:streamsite_apikey_delete", args=[row.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert ApiKey.objects.get().name == "Robot"
