"""The site as deploy/nginx has it: over a unix socket, with real addresses and open streams."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.utils import timezone
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from conftest import need
from streams.models import Channel
from streams.tests import rows
from streams.tests.bench.rtmp import free_port
from streamsite import keys
from streamsite.levels import Level
from streamsite.tests.serving import Served, is_open, served
from streamsite.tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(transactional_db: None, tmp_path: Path) -> Iterator[Served]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    need(program, "nginx")
    with served(tmp_path, bind="unix") as running:
        port, inner = free_port(), free_port()
        config = tmp_path / "nginx.conf"
        config.write_text(configured(tmp_path, port, inner))
        log = tmp_path / "nginx.log"
        with log.open("wb") as out:
            nginx = subprocess.Popen(
                (str(program), "-p", str(tmp_path), "-c", str(config), "-e", "stderr"),
                stderr=out,
            )
        try:
            until(lambda: is_open(port) or nginx.poll() is not None, 60, "nginx is open")
            assert nginx.poll() is None, log.read_text()
            yield Served(port, running.process, running.log)
        finally:
            nginx.terminate()
            nginx.wait(10)
    assert "Traceback" not in running.log.read_text()


def configured(folder: Path, port: int, inner: int) -> str:
    """deploy/nginx's own files, with the places of this test."""
    proxy = folder / "proxy.conf"
    shutil.copy(ROOT / "deploy/nginx/streamsite-proxy.conf", proxy)
    text = (ROOT / "deploy/nginx/streamsite.conf").read_text()
    for there, here in {
        "/run/streamsite-web.sock": str(folder / "web.sock"),
        "/etc/nginx/snippets/streamsite-proxy.conf": str(proxy),
        "listen 80;": f"listen 127.0.0.1:{port};",
        "    listen [::]:80;\n": "",
        "listen 127.0.0.1:8000;": f"listen 127.0.0.1:{inner};",
        "tv.example.org": "127.0.0.1",
    }.items():
        assert there in text
        text = text.replace(there, here)
    # As root, nginx's worker would be nobody, who may not open the socket.
    return (
        f"daemon off; master_process off; pid {folder}/nginx.pid; worker_processes 1;\n"
        "events {}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body;"
        f" proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;"
        f" uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{text}}}\n"
    )


def a_key(*addresses: str) -> dict[str, str]:
    _, key = keys.mint(
        "tests", Level.READ_ONLY, by="ada", now=timezone.now(), allowed_addresses=addresses
    )
    return {"X-API-Key": key.reveal()}


def test_streams_pages_and_addresses(site: Served) -> None:
    channel = rows.channel()
    here, elsewhere = a_key("127.0.0.1"), a_key("203.0.113.7")
    path = f"{site.ws}/ws/channels/demo"
    with connect(path, additional_headers=here) as mine:
        assert json.loads(mine.recv(timeout=5))["type"] == "snapshot"
        with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)) as line:
            line.request("GET", "/api/v1/channels/demo/events", headers=here)
            with line.getresponse() as stream:
                assert stream.status == 200
                until(lambda: stream.readline().startswith(b"data: "), 60, "its first event")
                Channel.objects.filter(pk=channel.pk).update(order="on")
                assert json.loads(mine.recv(timeout=5))["data"]["order"] == "on"
                # nginx keeps nothing back.
                event = until(
                    lambda: stream.readline().removeprefix(b"data: ").strip(), 60, "it"
                )
                assert json.loads(event)["data"]["order"] == "on"
    # nginx's word is the visitor's address, and a visitor can't put another into its mouth.
    for wrong in (elsewhere, elsewhere | {"X-Real-IP": "203.0.113.7"}):
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(path, additional_headers=wrong),
        ):
            pass
        assert caught.value.response.status_code == 403
        with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)) as line:
            line.request(
                "GET", "/api/v1/channels", headers=wrong | {"X-Request-ID": "mine-4711"}
            )
            with line.getresponse() as answer:
                assert answer.status == 403
                assert answer.headers["X-Request-ID"] == "mine-4711"
