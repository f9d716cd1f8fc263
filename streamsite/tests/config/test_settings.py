"""Settings come from the environment; a wrong one stops the start with a sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from streamsite import settings as site
from streamsite.config.env import Environment, kept, made
from streamsite.site import settings_table
from streamsite.tests.documents.blocks import Block, blocks

ROOT = Path(__file__).parents[3]
SETTINGS_PAGE = ROOT / "deploy/settings.md"
WRONG = {
    "PORT": ("eighty", "PORT is 'eighty', but must be a whole number from 1 to 65535."),
    "WORKER_RETRY_DELAY": ("0", "WORKER_RETRY_DELAY is '0', but must be a whole number"),
    "LOG_LEVEL": ("loud", "LOG_LEVEL is 'loud', but must be one of DEBUG, INFO"),
    "WORKER_GIVE_UP": ("maybe", "WORKER_GIVE_UP is 'maybe', but must be true or false."),
    "STORAGE_PROVIDER": ("ftp", "STORAGE_PROVIDER is 'ftp', but must be one of local,"),
    "STORAGE_ENDPOINT_URL": ("h.example", "STORAGE_ENDPOINT_URL must begin with https://"),
    "TIME_ZONE": ("Mars/Base", "TIME_ZONE is 'Mars/Base', but must be a time zone's name"),
    "DATABASE_URL": ("mysql://u:hush@h/db", "DATABASE_URL must begin with sqlite:/// or"),
    "Q_BROKER_URL": ("amqp://u:hush@h", "Q_BROKER_URL must begin with redis://"),
    "YOUTUBE_RTMP_URL": ("http://h/hush", "YOUTUBE_RTMP_URL must begin with rtmp://"),
    "ALERT_WEBHOOK": ("https://hush:hush/", "ALERT_WEBHOOK can't be read: copy the whole"),
    "EMAIL_SECURITY": (
        "ssl",
        "EMAIL_SECURITY is 'ssl', but must be one of none, starttls, tls.",
    ),
    "INGEST_SERVER": ("mediamtx", "INGEST_TOKEN is empty, but INGEST_SERVER is mediamtx"),
    "INGEST_TOKEN": ("hush", "INGEST_TOKEN must have 16 to 128 letters, digits, - and _."),
    "PUBLIC_PLAYBACK_URL": ("https://h; hush", "PUBLIC_PLAYBACK_URL can't be read: write"),
    "PUBLIC_INGEST_URL": ("http://h", "PUBLIC_INGEST_URL must begin with rtmp://"),
    "INGEST_RTSP_URL": ("rtsps://h.example", "INGEST_RTSP_URL begins with rtsps://, but FFm"),
    "LIBRETRANSLATE_URL": ("https://k:hush@h", "LIBRETRANSLATE_URL must hold no name, pass"),
    "BACKUP_TO": ("folder", "BACKUP_TO needs BACKUP_PASSPHRASE, of at least 12 characters"),
    "RETENTION_DAYS": (
        "as-run=9",
        "RETENTION_DAYS can't be used: write as-run= and days, from",
    ),
    "FIELD_KEYS": ("hush", "FIELD_KEYS holds something that is no key"),
}
COMMANDS = {
    "manage.py check": ["manage.py", "check"],
    "manage.py serve": ["manage.py", "serve"],
    "gunicorn": ["-m", "gunicorn", "--config", "python:streamsite.web"],
    "gunicorn without our configuration": ["-m", "gunicorn", "streamsite.wsgi"],
}


def start(command: list[str], **given: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the defaults and `given`."""
    env = {name: value for name, value in os.environ.items() if name not in site.env.defaults}
    env |= {
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "streamsite.settings",
        **given,
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_value_stops_the_start_with_one_sentence(name: str) -> None:
    value, sentence = WRONG[name]
    done = start(["manage.py", "check"], **{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"streamsite can't start: {sentence}")
    assert done.stderr.count("\n") == 1
    assert "hush" not in done.stderr + done.stdout


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_way_to_start_states_it(command: list[str]) -> None:
    done = start(command, LOG_LEVEL="loud")
    assert done.returncode != 0
    assert "streamsite can't start: LOG_LEVEL is 'loud'" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_bucket_needs_its_keys() -> None:
    done = start(["manage.py", "check"], STORAGE_PROVIDER="aws", STORAGE_BUCKET="tapes")
    assert "STORAGE_ACCESS_KEY_ID is empty, but STORAGE_PROVIDER is aws" in done.stderr


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"STORAGE_BUCKET": "My Films"}, "is 'My Films', which is no bucket's name"),
        ({"STORAGE_ENDPOINT_URL": "https://h/films"}, "leave out the bucket's name"),
        ({"STORAGE_ENDPOINT_URL": "https://k:hush@h"}, "must hold no name, password or"),
    ],
)
def test_a_bucket_copied_wrongly_is_reported(given: dict[str, str], sentence: str) -> None:
    usual = {"STORAGE_PROVIDER": "aws", "STORAGE_BUCKET": "tapes"}
    keys = {"STORAGE_ACCESS_KEY_ID": "k", "STORAGE_SECRET_ACCESS_KEY": "hush"}
    done = start(["manage.py", "check"], **usual | keys | given)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr


def test_example_lists_every_setting_with_its_default() -> None:
    listed = dict(
        re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    requests = dict(site.env.defaults)
    assert listed == requests


def test_document_is_what_the_program_reads() -> None:
    """`make docs` writes it."""
    table = settings_table.as_markdown()
    assert f"\n\n{table}\n\n" in SETTINGS_PAGE.read_text()
    listed = re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)
    assert sorted(listed) == sorted(site.env.defaults)


def test_every_setting_has_values_a_unit_and_a_meaning() -> None:
    for _, name, meaning in settings_table.meanings((ROOT / ".env.example").read_text()):
        kind = site.env.kinds[name]
        assert meaning, f"{name} has no comment of its own in .env.example"
        if re.match(r"\d+ to \d+", kind):
            assert re.fullmatch(r"\d+ to \d+ [A-Za-z()].*", kind), f"{name} has no unit"


#: Names that the program sets for its own processes, and those of the machine or of Django.
INTERNAL = {
    *("Q_CLUSTER_NAME", "STREAMSITE_READY_FD", "DJANGO_SETTINGS_MODULE"),
    *("PATH", "PORT", "RUN_DIR"),
}


def names_read() -> set[str]:
    """Names that the code reads from the environment past `streamsite.config.env`."""
    listed = subprocess.run(
        ("git", "ls-files", "*.py"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    read = set()
    for path in listed:
        if "tests/" not in path and path != "conftest.py":
            text = (ROOT / path).read_text()
            read |= set(re.findall(r"os\.environ(?:\.\w+\(|\[)\"(\w+)\"", text))
            read |= set(re.findall(r"given\.get\(\"([A-Z_]+)\"", text))
    return read


def test_names_of_the_environment_alone_are_in_the_document() -> None:
    listed = set(
        re.findall(r"`([A-Z_]+)`", SETTINGS_PAGE.read_text().rpartition("| Name |")[2])
    )
    # Libraries read these, and deploy/common.sh.
    elsewhere = {"AWS_CA_BUNDLE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PYTHON"}
    assert names_read() - INTERNAL == listed - elsewhere - {"Q_BROKER_URL"}


def test_file_speaks_where_the_environment_is_silent(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nLOG_LEVEL=DEBUG\n# word\n\nNODE_NAME='a b'\n")
    env = Environment(tmp_path, {"PORT": "9001", "LOG_LEVEL": ""})
    assert env.whole("PORT", 1, 1, 65535) == 9001
    assert env.text("LOG_LEVEL") == "DEBUG"
    assert env.text("NODE_NAME") == "a b"


def test_a_comment_behind_a_value_is_reported_before_it_becomes_a_part_of_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / ".env"
    path.write_text("LOG_LEVEL=DEBUG\nPORT=9000  # as the others\n")
    with pytest.raises(ImproperlyConfigured, match="line 2: a comment stands on a line"):
        Environment(tmp_path, {})
    path.write_text("ADMIN_PASSWORD='a # b'\nNODE_NAME=a#b\nSTORAGE_BUCKET=\n")
    env = Environment(tmp_path, {})
    assert (env.text("ADMIN_PASSWORD"), env.text("NODE_NAME")) == ("a # b", "a#b")


@pytest.mark.parametrize(
    "block", [b for b in blocks() if b.language == "ini"], ids=lambda block: block.place
)
def test_settings_in_the_documents_can_be_copied(block: Block, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{block.text}\n")
    Environment(tmp_path, {})
    names = set(re.findall(r"^([A-Z_]+)=", block.text, re.MULTILINE))
    assert names <= set(site.env.defaults)


def test_file_reaches_no_child(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("YOUTUBE_STREAM_KEY=hush\n")
    env = Environment(tmp_path, {})
    assert env.secret("YOUTUBE_STREAM_KEY").reveal() == "hush"
    assert "hush" not in os.environ.values()


def test_value_that_begins_with_a_dollar_is_taken_as_it_is(tmp_path: Path) -> None:
    assert Environment(tmp_path, {"ADMIN_PASSWORD": "$PATH"}).text("ADMIN_PASSWORD") == "$PATH"


def test_unreadable_line_is_reported_by_its_number_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nYOUTUBE_STREAM_KEY = hush\n")
    with pytest.raises(
        ImproperlyConfigured, match=r"\.env, line 2: write NAME=value"
    ) as caught:
        Environment(tmp_path, {})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgres://u:hu/sh@h/db", "postgres://u:hush@h:port/db"])
def test_database_address_that_cannot_be_read_shows_no_password(
    tmp_path: Path, url: str
) -> None:
    env = Environment(tmp_path, {"DATABASE_URL": url})
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL can't be read") as caught:
        env.database("DATABASE_URL", tmp_path / "db")
    assert "sh@h" not in str(caught.value)


def test_relative_database_lies_in_the_project(tmp_path: Path) -> None:
    env = Environment(tmp_path, {"DATABASE_URL": "sqlite:///here/my.db"})
    assert env.database("DATABASE_URL", tmp_path)["NAME"] == str(tmp_path / "here/my.db")
    assert (tmp_path / "here").is_dir()


def test_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match=r"Set DATA_DIR to a place of yours\."):
        made(tmp_path / "file/folder", "DATA_DIR")


def test_kept_value_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "folder/key"
    assert kept(file, lambda: "first") == "first"
    assert kept(file, lambda: "second") == "first"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("localhost", "", False),
        ("192.0.2.7", "", True),
        ("192.0.2.7", "tv.example.org", False),
    ],
)
def test_any_name_is_taken_only_where_others_shall_reach_it(
    host: str,
    allowed: str,
    expected: bool,
) -> None:
    shown = start(
        ["-c", "from streamsite import settings as s; print(s.ANY_HOST, s.ALLOWED_HOSTS)"],
        HOST=host,
        ALLOWED_HOSTS=allowed,
    ).stdout
    assert shown.startswith(str(expected))
    assert ("'*'" in shown) is expected
