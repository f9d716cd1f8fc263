"""Another key for the stored secrets: nothing is lost, whenever it is broken off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from streams.models import Output
from streams.tests import rows
from streamsite.config.env import Environment, new_field_key
from streamsite.management.commands import rotate_keys
from streamsite.security import rotation
from streamsite.security.secret import Secret

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

OUTPUTS: Final = 10


@pytest.fixture
def key_file(settings: Settings, tmp_path: Path) -> Path:
    """One key, in a file of the data folder."""
    settings.DATA_DIR, settings.FIELD_KEYS_GIVEN = tmp_path, False
    file = tmp_path / "field_key"
    use(settings, file, [new_field_key()])
    return file


def use(settings: Settings, file: Path, keys: list[str]) -> None:
    file.write_text(",".join(keys))
    settings.FIELD_KEYS = keys


def restarted(settings: Settings, file: Path) -> None:
    """What a service that starts now reads."""
    settings.FIELD_KEYS = Environment(file.parent, {}).keys("FIELD_KEYS", file.read_text)


def test_a_rotation_from_one_key_to_the_next(key_file: Path, settings: Settings) -> None:
    output = rows.output(rows.channel(), secret_query=Secret("token=abc"))
    empty = rows.output(output.channel, "Empty", key=Secret(""))
    (old,) = settings.FIELD_KEYS
    call_command("rotate_keys")
    new, kept = key_file.read_text().split(",")
    assert kept == old
    assert key_file.stat().st_mode & 0o777 == 0o600
    restarted(settings, key_file)
    call_command("rotate_keys", drop_old=True)
    assert key_file.read_text() == new
    restarted(settings, key_file)
    output.refresh_from_db()
    assert (output.key, output.secret_query) == (Secret(rows.KEY), Secret("token=abc"))
    empty.refresh_from_db()
    assert empty.key == Secret("")
    assert list(rotation.outdated()) == []


def test_the_old_key_stays_while_a_secret_needs_another(
    key_file: Path, settings: Settings
) -> None:
    (old,) = settings.FIELD_KEYS
    settings.FIELD_KEYS = [new_field_key()]
    output = rows.output(rows.channel())
    use(settings, key_file, [new_field_key(), old])
    with pytest.raises(CommandError, match=f"1 are not: output {output.pk}, key"):
        call_command("rotate_keys", drop_old=True)
    assert key_file.read_text().endswith(old)


def test_nothing_is_encrypted_while_the_playout_has_the_old_keys(
    key_file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate_keys, "RESTART_TIMEOUT_S", 0.0)
    rows.output(rows.channel())
    node = rows.node(name=settings.NODE_NAME)
    node.started_at = timezone.now() - timedelta(hours=1)
    node.save()
    use(settings, key_file, [new_field_key(), *settings.FIELD_KEYS])
    with pytest.raises(CommandError, match="restart the services"):
        call_command("rotate_keys")
    assert len(list(rotation.outdated())) == 1
    node.started_at = timezone.now() + timedelta(seconds=1)
    node.save()
    call_command("rotate_keys")
    assert list(rotation.outdated()) == []


def test_what_somebody_types_meanwhile_stays(key_file: Path, settings: Settings) -> None:
    output = rows.output(rows.channel())
    settings.FIELD_KEYS = [new_field_key(), *settings.FIELD_KEYS]
    (stored,) = rotation.outdated()
    Output.objects.filter(pk=output.pk).update(key=Secret("typed anew"))
    assert stored.reencrypt()
    output.refresh_from_db()
    assert output.key == Secret("typed anew")
    Output.objects.filter(pk=output.pk).delete()
    assert not stored.reencrypt()


@pytest.mark.slow
def test_a_rotation_that_is_killed_loses_nothing(key_file: Path, settings: Settings) -> None:
    channel = rows.channel()
    values = [Secret(f"key-{number}") for number in range(OUTPUTS)]
    Output.objects.bulk_create(
        Output(channel=channel, name=str(number), key=value)
        for number, value in enumerate(values)
    )
    new, (old,) = new_field_key(), settings.FIELD_KEYS
    names = os.environ | {"FIELD_KEYS": f"{new},{old}", "DATABASE_URL": _url()}
    names |= {"DATA_DIR": str(key_file.parent), "DJANGO_SETTINGS_MODULE": "streamsite.settings"}
    stored = Output.objects.order_by("pk").values_list("key", flat=True)
    # The last of so many writes is made, but not committed.
    for kill_at, done in ((3, 2), (1, 2), (5, 6), (0, OUTPUTS)):
        argv = (sys.executable, "-c", KILLED, str(kill_at))
        ended = subprocess.run(argv, cwd=settings.BASE_DIR, env=names, check=False).returncode
        assert ended == (-signal.SIGKILL if kill_at else 0)
        settings.FIELD_KEYS = [new]
        assert OUTPUTS - len(list(rotation.outdated())) == done
        settings.FIELD_KEYS = [new, old]
        assert list(stored) == values
    settings.FIELD_KEYS = [new]
    assert list(stored) == values


#: `rotate_keys` in a process that kills itself at the n-th write.
KILLED: Final = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from django.db import connection
left = int(sys.argv[1])
def write(execute, sql, params, many, context):
    global left
    result = execute(sql, params, many, context)
    if sql.startswith("UPDATE"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return result
with connection.execute_wrapper(write):
    call_command("rotate_keys")
"""


def _url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    host = f"{database['HOST']}:{database['PORT']}"
    return f"postgres://{database['USER']}:{database['PASSWORD']}@{host}/{database['NAME']}"
