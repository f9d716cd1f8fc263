"""Services that take alerts: the fields that each one needs, and its Apprise address. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

#: Apprise's schemes that act on this machine instead of sending anything.
LOCAL: Final = frozenset(
    {"dbus", "qt", "kde", "glib", "gnome", "macosx", "windows", "syslog", "growl", "nativ"}
)


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    label: str
    help: str = ""
    #: A password or token: not shown while it is typed.
    secret: bool = False
    optional: bool = False


WHOLE: Final = "Copy the whole address that the service shows."
#: By the name of the kind. Names of fields are unique among all of them.
FIELDS: Final[dict[str, tuple[Field, ...]]] = {
    "telegram": (
        Field("telegram_token", "Bot token", "From @BotFather: 123456:ABC….", secret=True),
        Field("telegram_chat", "Chat", "The chat's number, such as -1001234, or @channel."),
    ),
    "discord": (Field("discord_url", "Webhook address", WHOLE, secret=True),),
    "slack": (Field("slack_url", "Webhook address", WHOLE, secret=True),),
    "ntfy": (
        Field("ntfy_topic", "Topic", "Whoever knows it can read it.", secret=True),
        Field("ntfy_server", "Server", "Empty: https://ntfy.sh.", optional=True),
        Field("ntfy_token", "Access token", "Empty: none.", secret=True, optional=True),
    ),
    "mail": (
        Field("mail_to", "To", "Addresses with commas between. Sent by the EMAIL_ settings."),
    ),
    "matrix": (
        Field("matrix_server", "Server", "Such as https://matrix.example.org."),
        Field("matrix_token", "Access token", secret=True),
        Field("matrix_room", "Room", "Such as !abc:example.org or #ops:example.org."),
    ),
    "pushover": (
        Field("pushover_user", "User key", secret=True),
        Field("pushover_token", "Application token", secret=True),
    ),
    "gotify": (
        Field("gotify_server", "Server", "Such as https://gotify.example.org."),
        Field("gotify_token", "Application token", secret=True),
    ),
    "teams": (Field("teams_url", "Workflow address", WHOLE, secret=True),),
    "webhook": (
        Field(
            "webhook_url",
            "Address",
            "It gets JSON by POST, with the message as text.",
            secret=True,
        ),
    ),
    "apprise": (
        Field(
            "apprise_url",
            "Apprise address",
            "As github.com/caronc/apprise lists them, such as signal://….",
            secret=True,
        ),
    ),
}
#: Hosts of the services whose address is typed whole.
_HOSTS: Final = {
    "discord": ("discord.com", "discordapp.com"),
    "slack": ("hooks.slack.com",),
}


class FieldError(ValueError):
    """A field can't be used: `name`, and a sentence."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.name = name


def address(kind: str, values: Mapping[str, str]) -> str:
    """Return the address that `sending` opens. Raises `FieldError`."""
    given = _given(kind, values)
    part = {name: quote(value, safe="") for name, value in given.items()}
    match kind:
        case "telegram":
            token = quote(given["telegram_token"], safe=":")
            return f"tgram://{token}/{quote(given['telegram_chat'], safe='-@')}/"
        case "ntfy":
            return _ntfy(given, part)
        case "mail":
            return f"mail:{given['mail_to']}"
        case "matrix":
            return _matrix(given, part)
        case "pushover":
            return f"pover://{part['pushover_user']}@{part['pushover_token']}"
        case "gotify":
            host, secure = _server("gotify_server", given)
            return f"gotify{secure}://{host}/{part['gotify_token']}"
        case _:
            return _any(given["apprise_url"]) if kind == "apprise" else _web(kind, given)


def _given(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    given = {field.name: values.get(field.name, "").strip() for field in FIELDS[kind]}
    for field in FIELDS[kind]:
        if not given[field.name] and not field.optional:
            raise FieldError(field.name, f"{field.label} is missing.")
        if any(not char.isprintable() for char in given[field.name]):
            raise FieldError(field.name, f"{field.label} holds a control character.")
    return given


def _ntfy(given: Mapping[str, str], part: Mapping[str, str]) -> str:
    host, secure = "ntfy.sh", "s"
    if given["ntfy_server"]:
        host, secure = _server("ntfy_server", given)
    token = f"{part['ntfy_token']}@" if given["ntfy_token"] else ""
    mode = "?auth=token" if token else ""
    return f"ntfy{secure}://{token}{host}/{part['ntfy_topic']}{mode}"


def _matrix(given: Mapping[str, str], part: Mapping[str, str]) -> str:
    host, secure = _server("matrix_server", given)
    room = quote(given["matrix_room"], safe="!:")
    return f"matrix{secure}://{part['matrix_token']}@{host}/{room}"


def _server(name: str, given: Mapping[str, str]) -> tuple[str, str]:
    """Return host with port and path, and "s" for https."""
    parts = _parts(name, given[name] if "://" in given[name] else f"https://{given[name]}")
    return f"{parts[1]}{parts[2].rstrip('/')}", "s" if parts[0] == "https" else ""


def _parts(name: str, url: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        valid = False
    if not valid or " " in url:
        raise FieldError(name, "Write the whole address, beginning with https://.")
    return parts.scheme, parts.netloc, parts.path


def _web(kind: str, given: Mapping[str, str]) -> str:
    (name,) = given
    _, host, _ = _parts(name, given[name])
    expected = _HOSTS.get(kind, ())
    if expected and host not in expected:
        raise FieldError(name, f"That is no address of {expected[0]}: copy it from there.")
    return given[name]


def _any(url: str) -> str:
    scheme, mark, _ = url.partition("://")
    if not mark:
        raise FieldError("apprise_url", "An Apprise address is service://….")
    if scheme.lower() in LOCAL:
        raise FieldError("apprise_url", "This one would only act on the server's own screen.")
    return url
