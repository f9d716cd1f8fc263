"""Second factors: nobody with one is logged in by the password alone."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions

from streams.tests import rows
from streamsite.accounts import factors, groups
from streamsite.accounts.models import AuditEntry, Passkey
from streamsite.accounts.roles import Role
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.realtime.endpoints import staff_of
from streamsite.settings import ROLES
from streamsite.tests.browsing import browser, seen, site
from streamsite.tests.waiting import until

__all__ = ["browser", "site"]

pytestmark = pytest.mark.django_db

POLL = "/api/v1/channel-statuses"


def code_of(device: TOTPDevice, steps: int = 0) -> str:
    """The code that an authenticator shows, so many steps of 30 s from now."""
    totp = TOTP(device.bin_key, drift=steps)
    totp.time = timezone.now().timestamp()
    return f"{totp.token():06d}"


def with_codes(user: User) -> tuple[TOTPDevice, list[str]]:
    """The user has an authenticator and recovery codes."""
    device = factors.draft(user)
    # One step ago: no code is good twice, and the login's is to be good.
    assert factors.confirm(user, code_of(device, -1))
    device.refresh_from_db()
    return device, factors.new_codes(user)


def password(client: Client, user: User) -> Any:
    sent = {
        "username": user.get_username(),
        "password": "correct horse",
        "next": "/admin/live/",
    }
    return client.post(reverse("admin:login"), sent)


def is_in(client: Client) -> bool:
    return client.get(POLL).status_code == 200


# ---- the login -------------------------------------------------------------------------------


def test_without_a_factor_the_password_logs_in_as_before(client: Client) -> None:
    assert password(client, rows.operator()).url == "/admin/live/"
    assert is_in(client)


def test_a_password_alone_opens_nothing_where_there_is_a_factor(client: Client) -> None:
    user = rows.operator()
    device, _ = with_codes(user)
    answer: Any = password(client, user)
    assert answer.url.startswith(reverse("second-factor"))
    assert not is_in(client)
    assert client.get("/admin/").status_code == 302
    assert staff_of(f"sessionid={client.cookies['sessionid'].value}") is None
    # Nor does it set up another factor.
    assert client.get(reverse("set-up-factor")).status_code == 302
    assert client.post(reverse("add-passkey")).status_code == 400
    answer = client.post(answer.url, {"code": "000000"})
    assert b"The code is wrong" in answer.content
    TOTPDevice.objects.update(throttling_failure_count=0)
    sent = {"code": code_of(device), "next": "/admin/"}
    answer = client.post(reverse("second-factor"), sent)
    assert answer.url == "/admin/"
    assert is_in(client)
    events = list(AuditEntry.objects.order_by("pk").values_list("event", flat=True))
    assert events == ["factor", "factor", "login_failed", "login"]


def test_a_code_is_good_once_and_wrong_ones_make_it_wait(client: Client) -> None:
    user = rows.operator()
    device, _ = with_codes(user)
    code = code_of(device)
    password(client, user)
    client.post(reverse("second-factor"), {"code": code})
    assert is_in(client)
    other = Client()
    password(other, user)
    other.post(reverse("second-factor"), {"code": code})
    assert not is_in(other)
    other.post(reverse("second-factor"), {"code": code_of(device, 1)})
    assert not is_in(other)


def test_a_recovery_code_is_good_once() -> None:
    user = rows.operator()
    _, codes = with_codes(user)
    for expected in (True, False):
        client = Client()
        password(client, user)
        client.post(reverse("second-factor"), {"code": f" {codes[0].upper()} "})
        assert is_in(client) is expected
    assert factors.codes_left(user) == factors.MAX_CODES - 1


def test_a_password_waits_for_ten_minutes(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = rows.operator()
    _, codes = with_codes(user)
    password(client, user)
    monkeypatch.setattr(factors, "PENDING_TIMEOUT_S", -1)
    answer: Any = client.post(reverse("second-factor"), {"code": codes[0]})
    assert answer.url == reverse("admin:login")
    assert not is_in(client)


def test_a_disabled_user_gets_no_further(client: Client) -> None:
    user = rows.operator()
    _, codes = with_codes(user)
    password(client, user)
    User.objects.update(is_active=False)
    client.post(reverse("second-factor"), {"code": codes[0]})
    assert not is_in(client)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/"])
def test_a_login_leads_to_no_other_site(client: Client, target: str) -> None:
    user = rows.operator()
    _, codes = with_codes(user)
    password(client, user)
    answer: Any = client.post(reverse("second-factor"), {"code": codes[0], "next": target})
    assert answer.url == "/admin/"


def test_keys_of_programs_need_no_factor(client: Client, settings: Settings) -> None:
    settings.SECOND_FACTOR_ROLES = ["all"]
    _, key = keys.mint("Robot", KeyPermission.READ_ONLY, by="ada", now=timezone.now())
    assert client.get(POLL, headers={"X-API-Key": key.reveal()}).status_code == 200


# ---- where it is required --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needed", "role", "required"),
    [
        ([], Role.ADMIN, False),
        (["Admin"], Role.ADMIN, True),
        (["Admin"], Role.ENGINEER, False),
        (["Admin", "Viewer"], Role.VIEWER, True),
        (["all"], Role.VIEWER, True),
    ],
)
def test_who_needs_a_factor(
    needed: list[str], role: Role, required: bool, settings: Settings
) -> None:
    settings.SECOND_FACTOR_ROLES = needed
    user = rows.operator()
    groups.assign(user, role)
    assert factors.is_required(user) is required


def test_the_settings_name_the_roles() -> None:
    assert [role.value for role in Role] == list(ROLES)


def test_who_needs_one_sets_it_up_at_the_login(client: Client, settings: Settings) -> None:
    settings.SECOND_FACTOR_ROLES = ["all"]
    user = rows.operator()
    answer = password(client, user)
    assert answer.url.startswith(reverse("set-up-factor"))
    assert not is_in(client)
    page = client.get(answer.url).content.decode()
    device = TOTPDevice.objects.get(user=user)
    assert "<svg" in page
    assert factors.secret_of(device) in page
    assert b"The code is wrong" in client.post(answer.url, {"code": "000000"}).content
    TOTPDevice.objects.update(throttling_failure_count=0)
    answer = client.post(reverse("set-up-factor"), {"code": code_of(device)})
    assert len(answer.context["codes"]) == factors.MAX_CODES
    assert is_in(client)


# ---- its end ---------------------------------------------------------------------------------


def test_a_lost_factor_is_removed_by_a_command(client: Client, capsys: Any) -> None:
    user = rows.operator()
    with_codes(user)
    call_command("reset_second_factor", "ada")
    assert capsys.readouterr().out == "ada: 1 second factor removed.\n"
    password(client, user)
    assert is_in(client)
    assert AuditEntry.objects.filter(sentence="Removed all second factors.").exists()
    with pytest.raises(CommandError, match="no user bob"):
        call_command("reset_second_factor", "bob")


def test_one_removes_one_s_own_factors_alone(client: Client) -> None:
    user, other = rows.operator(), rows.operator("bob")
    key = Passkey.objects.create(user=other, name="Bob's", credential_id="x", public_key=b"")
    with_codes(user)
    client.force_login(user)
    client.post(reverse("remove-factor"), {"passkey": str(key.pk)})
    assert factors.has_factor(other)
    client.post(reverse("remove-factor"))
    assert not factors.has_factor(user)
    assert factors.codes_left(user) == 0


def test_secrets_of_factors_are_on_no_page(admin_client: Client, admin_user: User) -> None:
    device, codes = with_codes(admin_user)
    for path in ("/admin/account/", f"/admin/auth/user/{admin_user.pk}/change/"):
        page = admin_client.get(path).content.decode()
        assert factors.secret_of(device) not in page
        assert device.key not in page
        assert not any(code in page for code in codes)
    assert admin_client.get("/admin/otp_totp/totpdevice/").status_code == 404
    text = str(list(AuditEntry.objects.values_list()))
    assert not any(code in text for code in codes)


# ---- passkeys --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_passkey_is_added_and_logs_in(browser: Chrome, site: str) -> None:
    user = rows.operator()
    options = VirtualAuthenticatorOptions()
    options.has_user_verification = options.is_user_verified = True
    browser.add_virtual_authenticator(options)
    log_in(browser, site)
    browser.get(f"{site}/admin/account/")
    seen(browser, "[data-passkey-name]").send_keys("Telephone")
    seen(browser, "[data-passkey]").click()
    seen(browser, ".sx-codes")
    assert [row.name for row in Passkey.objects.filter(user=user)] == ["Telephone"]
    browser.delete_all_cookies()
    log_in(browser, site)
    seen(browser, "[data-passkey]").click()
    until(lambda: "second-factor" not in browser.current_url, 30, "the login")
    assert Passkey.objects.get().last_used_at is not None
    browser.get(f"{site}/admin/account/")
    assert "This one" in seen(browser, ".sx-table td").parent.page_source
    # Another site's page, or an old answer, gets nobody in.
    browser.delete_all_cookies()
    log_in(browser, site)
    browser.remove_virtual_authenticator()
    wrong = browser.execute_async_script(FORGED)
    assert wrong == 400
    console: list[Any] = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
    assert [row for row in console if "Content Security" in str(row)] == []


#: An answer that no authenticator has signed.
FORGED = """
const done = arguments[0];
const headers = {"X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value};
fetch("/admin/login/passkey/", {method: "POST", headers}).then(() =>
  fetch("/admin/login/passkey/", {method: "POST", body: '{"id": "AAAA"}', headers}))
  .then((answer) => done(answer.status));
"""


def log_in(browser: Chrome, site: str) -> None:
    browser.get(f"{site}/admin/login/")
    browser.find_element(By.NAME, "username").send_keys("ada")
    browser.find_element(By.NAME, "password").send_keys("correct horse")
    browser.find_element(By.CSS_SELECTOR, "#login-form [type=submit]").click()
    until(lambda: browser.current_url != f"{site}/admin/login/", 30, "the login's answer")
