"""A user's second factors: an authenticator's codes, recovery codes, passkeys.

A user who has one is not logged in by the password alone: the login is pending until the
factor is shown, so nothing else has to ask for it.
"""

from __future__ import annotations

import base64
import re
import time
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from streamsite.accounts.audit_log import Event, record
from streamsite.accounts.groups import role_of
from streamsite.accounts.models import Passkey

#: Recovery codes of a user. Each is good once.
MAX_CODES: Final = 10
#: Seconds that a password is good for without the factor.
PENDING_TIMEOUT_S: Final = 600
_PENDING: Final = "pending_login"


def has_factor(user: User) -> bool:
    """Recovery codes alone are none: they stand in for another one."""
    codes = TOTPDevice.objects.filter(user=user, confirmed=True)
    return codes.exists() or Passkey.objects.filter(user=user).exists()


def is_required(user: User) -> bool:
    needed = settings.SECOND_FACTOR_ROLES
    return "all" in needed or role_of(user) in needed


# ---- a login that waits for the factor -------------------------------------------------------
def suspend(request: HttpRequest, user: User) -> None:
    """Remembers that the password was right. The user is not logged in."""
    backend: str = user.backend
    request.session.cycle_key()
    request.session[_PENDING] = {"user": user.pk, "backend": backend, "at": time.time()}


def pending(request: HttpRequest) -> User | None:
    """The user whose password was right, with their backend; None: nobody, or too long ago."""
    kept = request.session.get(_PENDING)
    if not kept or time.time() - kept["at"] > PENDING_TIMEOUT_S:
        return None
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    if user is not None:
        user.backend = kept["backend"]
    return user


def forget_pending(request: HttpRequest) -> None:
    request.session.pop(_PENDING, None)


# ---- codes -----------------------------------------------------------------------------------
def draft(user: User) -> TOTPDevice:
    """The authenticator that the user is setting up."""
    device: TOTPDevice
    device, _ = TOTPDevice.objects.get_or_create(
        user=user, confirmed=False, defaults={"name": "Authenticator"}
    )
    return device


def secret_of(device: TOTPDevice) -> str:
    """The secret in base32, as people type it into an authenticator."""
    return base64.b32encode(device.bin_key).decode().rstrip("=")


def confirm(user: User, code: str) -> bool:
    """Takes the drafted authenticator in place of another one, if the code is right."""
    with transaction.atomic():
        device = draft(user)
        if not device.verify_token(_digits(code)):
            return False
        TOTPDevice.objects.filter(user=user, confirmed=True).delete()
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        _noted(user, "Set up an authenticator.")
    return True


def verify(user: User, code: str) -> bool:
    """Whether it is a code of the authenticator, or a recovery code, which it uses up.

    Wrong codes make both wait, longer each time.
    """
    typed = _digits(code)
    devices: list[Any] = list(TOTPDevice.objects.filter(user=user, confirmed=True))
    # A wrong code of an authenticator costs no try of the recovery codes.
    if not re.fullmatch(r"[0-9]{6}", typed):
        devices = list(StaticDevice.objects.filter(user=user, confirmed=True))
        typed = typed.lower()
    return any(device.verify_token(typed) for device in devices)


def new_codes(user: User) -> list[str]:
    """New recovery codes in place of the old ones. They are shown once."""
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        device = StaticDevice.objects.create(user=user, name="Recovery codes")
        codes = [StaticToken.random_token() for _ in range(MAX_CODES)]
        for code in codes:
            device.token_set.create(token=code)
        _noted(user, "Made recovery codes.")
    return codes


def codes_left(user: User) -> int:
    return int(StaticToken.objects.filter(device__user=user).count())


def _digits(code: str) -> str:
    return "".join(code.split())[:64]


# ---- the end of a factor ---------------------------------------------------------------------
def remove_authenticator(user: User) -> None:
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user).delete()
        _noted(user, "Removed the authenticator.")
        _forget_codes(user)


def remove_passkey(user: User, pk: int) -> None:
    with transaction.atomic():
        if Passkey.objects.filter(user=user, pk=pk).delete()[0]:
            _noted(user, "Removed a passkey.")
        _forget_codes(user)


def reset(user: User, by: str) -> int:
    """Removes all factors of a user who lost them. Returns how many there were."""
    with transaction.atomic():
        count = int(TOTPDevice.objects.filter(user=user, confirmed=True).count())
        count += Passkey.objects.filter(user=user).count()
        TOTPDevice.objects.filter(user=user).delete()
        Passkey.objects.filter(user=user).delete()
        StaticDevice.objects.filter(user=user).delete()
        record(Event.FACTOR, by, "Removed all second factors.", [user])
    return count


def _forget_codes(user: User) -> None:
    if not has_factor(user):
        StaticDevice.objects.filter(user=user).delete()


def _noted(user: User, sentence: str) -> None:
    record(Event.FACTOR, user.get_username(), sentence, [user])
