"""The connection of accounts: orders of people, and the steps that a job takes.

    none ──order_device──▶ device ──code typed──▶ connected
    none ──order_web, return_from_web──▶ web ──code exchanged──▶ connected

The page only writes the order: every request to a platform is made by a job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from streams.models import AccountState, PlatformAccount
from streams.platforms import oauth, quota
from streams.platforms.oauth import PROVIDERS, Client, Tokens
from streams.platforms.transport import Deadline, PlatformError
from streams.platforms.twitch import Twitch
from streams.platforms.youtube import YouTube
from streamsite.accounts import audit_log
from streamsite.processes.claims import Claims, this_process
from streamsite.security.secret import Secret, Unreadable, UnreadableSecretError

#: Seconds of a pass at one account, and of its claim: whoever follows a killed job never meets
#: a request of its still under way.
PASS_TIMEOUT_S: Final = 60.0
_CLAIM: Final = timedelta(seconds=90)
#: An access token is renewed this long before its end.
_MARGIN: Final = timedelta(minutes=2)
#: How long a connection that was ordered may take, unless the platform gives less.
FLOW_TIMEOUT: Final = timedelta(minutes=30)

CLAIMS: Final = Claims(AccountState, "worker", related=("account", "account__channel"))
_OVER: Final[dict[str, Any]] = {
    "flow": AccountState.Flow.NONE,
    "flow_secret": Secret(""),
    "flow_until": None,
    "flow_due_at": None,
    "user_code": "",
    "verification_url": "",
}


@dataclass(frozen=True, slots=True)
class Pass:
    """A job at one account: the claim, and the end of its time."""

    row: AccountState
    deadline: Deadline

    @property
    def account(self) -> PlatformAccount:
        return self.row.account

    def mine(self) -> QuerySet[AccountState]:
        return CLAIMS.mine(self.row)


@contextmanager
def claimed(account: int) -> Iterator[Pass | None]:
    """Claim the account for one pass; None: another job has it, or it is gone."""
    now = timezone.now()
    free = Q(worker="") | Q(worker_until__lt=now)
    row = CLAIMS.take(account, this_process(), free, worker_until=now + _CLAIM)
    try:
        yield None if row is None else Pass(row, Deadline.after(PASS_TIMEOUT_S))
    finally:
        if row is not None:
            CLAIMS.mine(row).update(worker="", worker_until=None)


# ---- orders of people ------------------------------------------------------------------------


def state_of(account: PlatformAccount) -> AccountState:
    return AccountState.objects.get_or_create(account=account)[0]


def order_device(account: PlatformAccount, by: str) -> None:
    """Order a code that a person types at the platform; an earlier order is over."""
    _order(account, by, AccountState.Flow.DEVICE)


def order_web(
    account: PlatformAccount, by: str, code: Secret, verifier: Secret, redirect: str
) -> None:
    """Order the exchange of the code with which the browser came back."""
    parts = {"code": code.reveal(), "verifier": verifier.reveal(), "redirect": redirect}
    _order(
        account,
        by,
        AccountState.Flow.WEB,
        flow_secret=Secret(json.dumps(parts)),
    )


def _order(account: PlatformAccount, by: str, flow: str, **columns: Any) -> None:
    state_of(account)
    now = timezone.now()
    times = {"flow_due_at": now, "flow_until": now + FLOW_TIMEOUT}
    order = {"flow": flow, "flow_by": by[:150], "fault": ""}
    AccountState.objects.filter(pk=account.pk).update(**_OVER | order | times | columns)
    audit_log.record(audit_log.Event.CHANGED, by, "Connection ordered.", [account])


def disconnect(account: PlatformAccount, by: str) -> None:
    """Forget the tokens. What was measured stays."""
    AccountState.objects.filter(pk=account.pk).update(
        **_OVER,
        refresh_token=Secret(""),
        access_token=Secret(""),
        access_until=None,
        connected_at=None,
        connected_by="",
        fault="",
    )
    audit_log.record(audit_log.Event.CHANGED, by, "Disconnected.", [account])


# ---- steps of the job ------------------------------------------------------------------------


def client_of(account: PlatformAccount) -> Client:
    """Raises `PlatformError` if the stored secret can't be decrypted."""
    if isinstance(account.client_secret, Unreadable):
        raise PlatformError("The stored client secret can't be decrypted: type it again.")
    provider = PROVIDERS[account.kind]
    return Client(provider, account.client_id, account.client_secret or Secret(""))


def scopes_of(account: PlatformAccount, *, web: bool = False) -> str:
    writes = account.may_manage_broadcasts or account.may_write_titles
    return PROVIDERS[account.kind].scopes(writes=writes, web=web)


def advance(job: Pass) -> None:
    """Take the next step of a connection that was ordered, if it is due."""
    row, now = job.row, timezone.now()
    # A later order of a person is another flow: this step must not end it.
    this = job.mine().filter(flow=row.flow, flow_by=row.flow_by, flow_due_at=row.flow_due_at)
    if row.flow == AccountState.Flow.NONE or (row.flow_due_at and row.flow_due_at > now):
        return
    if row.flow_until is not None and row.flow_until < now:
        this.update(**_OVER, fault="Nobody agreed at the platform in time: connect again.")
        return
    try:
        tokens = _step(job, this, now)
        if tokens is not None:
            _connected(job, this, tokens)
    except PlatformError as error:
        if error.transient:
            later = timezone.now() + timedelta(seconds=row.flow_interval)
            this.update(flow_due_at=later, fault=f"It is tried again: {error}")
        else:
            this.update(**_OVER, fault=f"It was not connected: {error}")
    except UnreadableSecretError as error:
        this.update(**_OVER, fault=f"It was not connected: {error}")


def _step(job: Pass, this: QuerySet[AccountState], now: datetime) -> Tokens | None:
    row, account = job.row, job.account
    client = client_of(account)
    if row.flow == AccountState.Flow.WEB:
        parts = json.loads(row.flow_secret.reveal())
        code, proof = Secret(parts["code"]), Secret(parts["verifier"])
        return oauth.exchange_code(client, code, proof, parts["redirect"], job.deadline)
    if not row.flow_secret:
        given = oauth.start_device(client, scopes_of(account), job.deadline)
        this.update(
            flow_secret=given.secret,
            user_code=given.user_code,
            verification_url=given.address,
            flow_until=now + timedelta(seconds=given.expires_in),
            flow_interval=given.interval,
            flow_due_at=now + timedelta(seconds=given.interval),
        )
        return None
    answer = oauth.poll_device(client, row.flow_secret, scopes_of(account), job.deadline)
    if isinstance(answer, Tokens):
        return answer
    interval = row.flow_interval + (answer or 0)
    this.update(
        flow_interval=interval, flow_due_at=timezone.now() + timedelta(seconds=interval)
    )
    return None


def _connected(job: Pass, this: QuerySet[AccountState], tokens: Tokens) -> None:
    if not tokens.refresh:
        raise PlatformError("The platform gave no refresh token. Remove this site there first.")
    name, remote = _who(job, tokens.access)
    now = timezone.now()
    with transaction.atomic():
        taken = this.update(
            **_OVER,
            **_stored(tokens, now),
            scopes=tokens.scopes,
            remote_id=remote,
            remote_name=name,
            connected_at=now,
            connected_by=job.row.flow_by,
            fault="",
            due_at=None,
            watched_at=None,
        )
        if taken:
            sentence = f"Connected to {job.account.get_kind_display()} as {name}."
            audit_log.record(audit_log.Event.CHANGED, job.row.flow_by, sentence, [job.account])


def _who(job: Pass, access: Secret) -> tuple[str, str]:
    if job.account.kind == PlatformAccount.Kind.TWITCH:
        remote, name = Twitch(job.account.client_id, access, job.deadline).user()
        return name, remote
    channel = YouTube(access, job.deadline, spender(job)).own_channel()
    title = channel.get("snippet", {}).get("title", "")
    return str(title)[:120], str(channel.get("id", ""))[:64]


def _stored(tokens: Tokens, now: datetime) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "access_token": tokens.access,
        "access_until": now + timedelta(seconds=tokens.expires_in),
    }
    # Twitch's refresh tokens are for one use; Google's stay, and are not given again.
    return columns | ({"refresh_token": tokens.refresh} if tokens.refresh else {})


def access_token(job: Pass, *, renew: bool = False) -> Secret:
    """Return a valid access token. Raises `PlatformError`.

    `renew`: the platform has refused the present one.
    """
    row, now = job.row, timezone.now()
    if any(isinstance(one, Unreadable) for one in (row.access_token, row.refresh_token)):
        raise PlatformError("The stored tokens can't be decrypted: connect the account again.")
    if not row.refresh_token:
        raise PlatformError("The account is not connected.")
    if not renew and row.access_token and row.access_until and row.access_until - _MARGIN > now:
        return row.access_token
    try:
        tokens = oauth.refresh(client_of(job.account), row.refresh_token, job.deadline)
    except PlatformError as error:
        if error.status in {400, 401}:
            raise PlatformError(
                f"{job.account.get_kind_display()} does not accept the connection any more: "
                "connect the account again.",
                error.status,
                error.reason,
            ) from None
        raise
    columns = _stored(tokens, now)
    if not job.mine().update(**columns):
        raise PlatformError("The account was taken over by another job.")
    for name, value in columns.items():
        setattr(row, name, value)
    return tokens.access


# ---- units -----------------------------------------------------------------------------------


def spender(job: Pass) -> Callable[[int], None]:
    """Return what takes a call's units from the day's, in the row, before it is made."""
    rows = AccountState.objects.filter(pk=job.row.pk)

    def spend(units: int) -> None:
        today = quota.day(timezone.now())
        rows.exclude(quota_day=today).update(quota_day=today, quota_spent=0)
        left = job.account.daily_units - units
        if not rows.filter(quota_spent__lte=left).update(quota_spent=F("quota_spent") + units):
            raise PlatformError(
                f"The {job.account.daily_units} units of the day are used up. They begin anew "
                "at midnight in California."
            )

    return spend


def spent(job: Pass) -> int:
    """Return the units spent today."""
    day, units = AccountState.objects.values_list("quota_day", "quota_spent").get(pk=job.row.pk)
    return units if day == quota.day(timezone.now()) else 0


def used_up(job: Pass) -> None:
    """Note that the platform gives no more units today, whatever was counted here."""
    AccountState.objects.filter(pk=job.row.pk).update(
        quota_day=quota.day(timezone.now()), quota_spent=job.account.daily_units
    )
