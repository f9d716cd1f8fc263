"""Connections by a code and by the browser, over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from streams.models import AccountState, PlatformAccount
from streams.platforms import connections, oauth, reports
from streams.tests.platforms.accounts import account, connected
from streams.tests.platforms.stand_in import REFRESH, TOKEN, StandIn
from streamsite.accounts.models import AuditEntry
from streamsite.security.secret import Secret

pytestmark = pytest.mark.django_db


def _step(of: PlatformAccount) -> AccountState:
    """One step, as if the interval had passed."""
    AccountState.objects.filter(flow_due_at__isnull=False).update(flow_due_at=timezone.now())
    reports.check(of.pk)
    return AccountState.objects.get(pk=of.pk)


PENDING = (428, {"error": "authorization_pending"})
SLOW = (403, {"error": "slow_down"})
TWITCH_PENDING = (400, {"status": 400, "message": "authorization_pending"})
GRANTED = (200, {"access_token": TOKEN, "refresh_token": REFRESH, "expires_in": 3600})


@pytest.mark.parametrize(
    ("kind", "code", "name", "pending"),
    [
        ("youtube", "ABCD-EFGH", "Our channel", PENDING),
        ("twitch", "TWTCHXYZ", "OurTwitch", TWITCH_PENDING),
    ],
)
def test_by_a_code(
    platform: StandIn, kind: str, code: str, name: str, pending: tuple[int, dict[str, object]]
) -> None:
    of = account(kind)
    platform.tokens = [pending, SLOW if kind == "youtube" else pending, GRANTED]
    connections.order_device(of, "ada")
    assert platform.calls == []
    state = _step(of)
    assert (state.user_code, state.verification_url[:8]) == (code, "https://")
    # Asked no more often than the platform has said.
    reports.check(of.pk)
    assert len(platform.calls) == 1
    assert not _step(of).connected
    assert _step(of).flow_interval == (10 if kind == "youtube" else 5)
    state = _step(of)
    assert (state.connected, state.remote_name, state.connected_by) == (True, name, "ada")
    assert (state.flow, state.user_code, bool(state.flow_secret)) == ("", "", False)
    assert state.refresh_token.reveal() == REFRESH
    sentences = set(AuditEntry.objects.values_list("who", "sentence"))
    assert ("ada", f"Connected to {of.get_kind_display()} as {name}.") in sentences


def test_scopes_are_those_that_the_account_needs(platform: StandIn) -> None:
    of = account()
    connections.order_device(of, "ada")
    _step(of)
    sent = parse_qs(platform.sent[0].decode())
    assert sent["scope"] == ["https://www.googleapis.com/auth/youtube.readonly"]
    assert "client_secret" not in sent
    of.may_manage_broadcasts = True
    assert connections.scopes_of(of).endswith("/auth/youtube")
    # Google's device flow does not know it.
    assert oauth.ANALYTICS not in connections.scopes_of(of)
    assert oauth.ANALYTICS in connections.scopes_of(of, web=True)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((403, {"error": "access_denied"}), "access_denied"),
        ((401, {"error": "invalid_client"}), "invalid_client"),
        ((200, {"access_token": TOKEN, "expires_in": 3600}), "no refresh token"),
    ],
)
def test_a_refusal_ends_the_flow(
    platform: StandIn, answer: tuple[int, dict[str, object]], part: str
) -> None:
    of = account()
    platform.tokens = [answer]
    connections.order_device(of, "ada")
    _step(of)
    state = _step(of)
    assert (state.connected, state.flow) == (False, "")
    assert part in state.fault
    assert TOKEN not in state.fault


def test_a_stall_does_not_end_the_flow(platform: StandIn) -> None:
    of = account()
    platform.tokens = [(503, {}), GRANTED]
    connections.order_device(of, "ada")
    _step(of)
    state = _step(of)
    assert (state.flow, "tried again" in state.fault) == ("device", True)
    state = _step(of)
    assert (state.connected, state.fault) == (True, "")


def test_a_code_that_nobody_types_is_over(platform: StandIn) -> None:
    of = account()
    platform.tokens = [PENDING]
    connections.order_device(of, "ada")
    _step(of)
    AccountState.objects.update(flow_until=timezone.now() - timedelta(seconds=1))
    count = len(platform.calls)
    assert "in time" in _step(of).fault
    assert len(platform.calls) == count


def test_by_the_browser(platform: StandIn) -> None:
    of = account()
    verifier = oauth.verifier()
    address = oauth.authorize_address(
        connections.client_of(of),
        connections.scopes_of(of, web=True),
        "https://site.example/back",
        "state-1",
        verifier,
    )
    params = parse_qs(urlsplit(address).query)
    assert params["code_challenge_method"] == ["S256"]
    assert (params["access_type"], params["prompt"]) == (["offline"], ["consent"])
    assert verifier.reveal() not in address
    connections.order_web(of, "ada", Secret("code-1"), verifier, "https://site.example/back")
    state = _step(of)
    assert state.connected
    sent = parse_qs(platform.sent[0].decode())
    assert sent["code"] == ["code-1"]
    assert sent["code_verifier"] == [verifier.reveal()]
    assert sent["client_secret"] == ["client-secret-8812"]


def test_a_new_order_outlives_the_step_of_an_old_one(platform: StandIn) -> None:
    of = account()
    platform.tokens = [GRANTED]
    connections.order_device(of, "ada")
    _step(of)
    # While the job asks, a person begins anew: the old answer must not count.
    with connections.claimed(of.pk) as job:
        assert job is not None
        job.row.flow_due_at = timezone.now() - timedelta(seconds=1)
        connections.advance(job)
    state = AccountState.objects.get()
    assert (state.connected, state.flow) == (False, "device")


def test_twitch_refresh_tokens_are_for_one_use(platform: StandIn) -> None:
    of = connected("twitch")
    AccountState.objects.update(access_until=timezone.now())
    platform.tokens = [
        (200, {"access_token": "a2", "refresh_token": "r2", "expires_in": 14400, "scope": []})
    ]
    with connections.claimed(of.pk) as job:
        assert job is not None
        assert connections.access_token(job).reveal() == "a2"
    assert AccountState.objects.get().refresh_token.reveal() == "r2"


def test_disconnect_forgets_the_tokens(platform: StandIn) -> None:
    of = connected()
    connections.disconnect(of, "ada")
    state = AccountState.objects.get()
    assert not any((state.connected, state.refresh_token, state.access_token))
    assert reports.check(of.pk) == "It is not connected."
