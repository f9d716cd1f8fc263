"""Secrets leave the addresses of outputs: into the stream key, or the secret parameters.

What an output sends stays the same to the byte, so that one on air plays on.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import streamsite.security.fields
from streamsite.security.secret import Secret

#: Parameters that are no secrets, as they were when this was written.
PUBLIC: Final = {
    "srt": frozenset(
        {
            *("connect_timeout", "enforced_encryption", "ffs", "inputbw", "iptos", "ipttl"),
            *("kmpreannounce", "kmrefreshrate", "latency", "linger", "lossmaxttl", "maxbw"),
            *("messageapi", "minversion", "mode", "mss", "nakreport", "oheadbw"),
            *("payload_size", "pbkeylen", "peerlatency", "pkt_size", "rcvbuf", "rcvlatency"),
            *("recv_buffer_size", "send_buffer_size", "smoother", "sndbuf", "snddropdelay"),
            *("timeout", "tlpktdrop", "transtype", "tsbpd"),
        }
    )
}
RTMP_PUBLIC: Final = frozenset({"backup"})
_SETTING: Final = re.compile(r"-?\d{1,10}|[a-z]{1,12}")
#: The name of an application, rather than a key: live, live2, app.
_APPLICATION: Final = re.compile(r"[a-z]{1,12}\d?")


def parted(url: str, *, has_key: bool, wants_key: bool) -> tuple[str, str, str]:
    """The address without secrets, and what of it belongs to the key and the parameters.

    `has_key`: a key is stored. `wants_key`: the platform has one for each stream.
    """
    whole = url.strip()
    if not whole.lower().startswith("srt:"):
        # FFmpeg leaves out of RTMP addresses what comes behind a space.
        whole = whole.partition(" ")[0]
    # A # behind the "?" begins nothing: many ids of SRT streams begin with it.
    start, _, asked = whole.partition("?")
    try:
        parts = urlsplit(start)
    except ValueError:
        # Nothing was ever sent there. Only what the constraint refuses may not stay.
        return ("", "", url) if _refused(url) else (url, "", "")
    harmless = _harmless(parts.scheme, asked)
    query = [] if harmless else [asked]
    kept = f"?{asked}" if harmless and asked else ""
    login, at, place = parts.netloc.rpartition("@")
    if at:
        name, _, password = login.partition(":")
        query.append(f"user={name}&password={password}" if password else f"user={name}")
    path, key = parts.path, ""
    if parts.scheme in {"rtmp", "rtmps"} and not has_key:
        path, key = _key_in_path(parts.path, alone=not wants_key and not query)
    if parts.fragment:
        query.append(parts.fragment)
    address = f"{parts.scheme}://{place}{path}{kept}"
    if _refused(address):
        # Something odd; what it was is kept where nobody reads it.
        return "", key, url
    return address, key, "&".join(filter(None, query))


def _key_in_path(path: str, *, alone: bool) -> tuple[str, str]:
    """`alone`: nothing else is there that would let a stranger not publish."""
    words = [word for word in path.split("/") if word]
    if len(words) > 1:
        return f"/{words[0]}", "/".join(words[1:])
    if not words or not alone or _APPLICATION.fullmatch(words[0]):
        return path, ""
    return "", words[0]


def _harmless(scheme: str, query: str) -> bool:
    known = PUBLIC.get(scheme, RTMP_PUBLIC)
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return all(name in known and bool(_SETTING.fullmatch(value)) for name, _, value in pairs)


def _refused(address: str) -> bool:
    text = address.lower()
    return any(mark in text for mark in ("@", "passphrase=", "streamid=", "token="))


def move(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    outputs: Any = apps.get_model("streams", "Output")._default_manager  # noqa: SLF001
    rows = outputs.using(schema_editor.connection.alias)
    for row in rows.exclude(url=""):
        address, key, query = parted(
            row.url,
            has_key=bool(row.key),
            wants_key=row.platform in {"youtube", "youtube_backup", "twitch"},
        )
        if address == row.url:
            continue
        fields: dict[str, Any] = {"url": address}
        if not address:
            # Or it would go to the platform's own address.
            fields["enabled"] = False
        if key:
            fields["key"] = Secret(key)
        if query:
            fields["secret_query"] = Secret(query)
        rows.filter(pk=row.pk).update(**fields)


class Migration(migrations.Migration):
    dependencies = [("streams", "0011_goes_over_after")]

    operations = [
        migrations.AddField(
            model_name="output",
            name="secret_query",
            field=streamsite.security.fields.SecretField(
                blank=True,
                default="",
                help_text="What your server wants after the “?” of its address, such as token=… "
                "or, of SRT, passphrase=….",
                verbose_name="secret parameters",
            ),
        ),
        migrations.AddField(
            model_name="output",
            name="verify_certificate",
            field=models.BooleanField(
                default=True,
                help_text="Of rtmps:// addresses. Switched off, whoever stands between this "
                "machine and the server can read the stream key.",
                verbose_name="verify the certificate",
            ),
        ),
        migrations.AlterField(
            model_name="output",
            name="url",
            field=models.CharField(
                blank=True,
                help_text="Left empty, the platform's own address is used. It is shown to "
                "everybody: no key, password or token belongs in it.",
                max_length=500,
                verbose_name="address",
            ),
        ),
        # Backwards the secrets stay where they are: an older version sends without them.
        migrations.RunPython(move, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="output",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("url__contains", "@"), _negated=True
                )
                & models.Q(("url__icontains", "passphrase="), _negated=True)
                & models.Q(("url__icontains", "streamid="), _negated=True)
                & models.Q(("url__icontains", "token="), _negated=True),
                name="output_address_holds_no_secret",
                violation_error_message="The address must not hold secrets: put them into the "
                "stream key or the secret parameters.",
            ),
        ),
    ]
