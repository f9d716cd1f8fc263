"""Passkeys (WebAuthn): registration and login, by py_webauthn.

The library is imported where it is used: it takes 4 MB.
"""

from __future__ import annotations

import json
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from streamsite.accounts.audit_log import Event, record
from streamsite.accounts.models import Passkey

_CHALLENGE: Final = "passkey_challenge"


class PasskeyError(Exception):
    """A passkey that is not accepted. `str()` of it is a sentence for the user."""


def _site(request: HttpRequest) -> tuple[str, str]:
    """The name that passkeys are bound to, and the pages' origin."""
    host = request.get_host()
    return host.rpartition(":")[0] if ":" in host else host, f"{request.scheme}://{host}"


def registration(request: HttpRequest, user: User) -> dict[str, Any]:
    """The browser's options for a new passkey of the user."""
    import webauthn  # noqa: PLC0415 - see the module's docstring
    from webauthn.helpers import structs  # noqa: PLC0415 - see above

    options = webauthn.generate_registration_options(
        rp_id=_site(request)[0],
        rp_name="streamsite",
        user_id=str(user.pk).encode(),
        user_name=user.get_username(),
        exclude_credentials=_descriptors(user),
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.DISCOURAGED,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        ),
    )
    return _kept(request, options)


def register(request: HttpRequest, user: User, name: str, answer: Any) -> Passkey:
    """Stores the passkey that the browser made. Raises `PasskeyError`."""
    import webauthn  # noqa: PLC0415 - see the module's docstring

    rp_id, origin = _site(request)
    try:
        made = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=_challenge(request),
            expected_rp_id=rp_id,
            expected_origin=origin,
        )
    except Exception as error:  # noqa: BLE001 - the library raises whatever a stranger's data cause
        raise PasskeyError(_refusal("registration", error)) from None
    credential_id = webauthn.helpers.bytes_to_base64url(made.credential_id)
    if Passkey.objects.filter(credential_id=credential_id).exists():
        raise PasskeyError("This passkey is registered already.")
    with transaction.atomic():
        row = Passkey.objects.create(
            user=user,
            name=name[:80] or "Passkey",
            credential_id=credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
        )
        record(Event.FACTOR, user.get_username(), f"Added the passkey “{row}”.", [user])
    return row


def authentication(request: HttpRequest, user: User) -> dict[str, Any]:
    """The browser's options to show one of the user's passkeys."""
    import webauthn  # noqa: PLC0415 - see the module's docstring
    from webauthn.helpers import structs  # noqa: PLC0415 - see above

    options = webauthn.generate_authentication_options(
        rp_id=_site(request)[0],
        allow_credentials=_descriptors(user),
        user_verification=structs.UserVerificationRequirement.PREFERRED,
    )
    return _kept(request, options)


def authenticate(request: HttpRequest, user: User, answer: Any) -> Passkey:
    """The user's passkey that the browser has shown. Raises `PasskeyError`."""
    import webauthn  # noqa: PLC0415 - see the module's docstring

    rp_id, origin = _site(request)
    challenge = _challenge(request)
    shown = str(answer.get("id", "")) if isinstance(answer, dict) else ""
    row = Passkey.objects.filter(user=user, credential_id=shown).first()
    if row is None:
        raise PasskeyError("This passkey is not one of yours.")
    try:
        done = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=origin,
            credential_public_key=bytes(row.public_key),
            credential_current_sign_count=row.sign_count,
        )
    except Exception as error:  # noqa: BLE001 - see `register`
        raise PasskeyError(_refusal("login", error)) from None
    Passkey.objects.filter(pk=row.pk).update(
        sign_count=done.new_sign_count, last_used_at=timezone.now()
    )
    return row


def _descriptors(user: User) -> list[Any]:
    from webauthn.helpers import base64url_to_bytes, structs  # noqa: PLC0415 - see above

    ids = Passkey.objects.filter(user=user).values_list("credential_id", flat=True)
    return [structs.PublicKeyCredentialDescriptor(id=base64url_to_bytes(one)) for one in ids]


def _kept(request: HttpRequest, options: Any) -> dict[str, Any]:
    """The options as JSON. Their challenge is good for one answer of this session."""
    from webauthn.helpers import options_to_json  # noqa: PLC0415 - see above

    fields: dict[str, Any] = json.loads(options_to_json(options))
    request.session[_CHALLENGE] = fields["challenge"]
    return fields


def _challenge(request: HttpRequest) -> bytes:
    from webauthn.helpers import base64url_to_bytes  # noqa: PLC0415 - see above

    kept = request.session.pop(_CHALLENGE, None)
    if kept is None:
        raise PasskeyError("This page is outdated: reload it, then try again.")
    return base64url_to_bytes(kept)


def _refusal(what: str, error: Exception) -> str:
    return f"The {what} with this passkey failed ({type(error).__name__}): try again."
