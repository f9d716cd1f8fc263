"""Webhooks out: where they may go, and what is made of a receiver that is none."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import Any

import pytest
from pytest_django import Settings

from streams.tests.bench.rtmp import free_port
from streamsite.tests.receiving import Hook
from streamsite.tests.webhook_rows import emit, endpoint, hook
from streamsite.webhooks import client, sender
from streamsite.webhooks.models import Delivery

__all__ = ["hook"]

pytestmark = pytest.mark.django_db


def test_nobody_is_there() -> None:
    answer = client.post(f"http://127.0.0.1:{free_port()}/", b"{}", {}, private=True)
    assert answer == client.Answer(
        None, "127.0.0.1 could not be told (ConnectionRefusedError)."
    )


def test_receiver_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WHOLE", 0.5)
    stop = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def trickle() -> None:
            line, _ = server.accept()
            with closing(line):
                while not stop.wait(0.05):
                    try:
                        line.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        port = server.getsockname()[1]
        answer = client.post(f"http://127.0.0.1:{port}/", b"{}", {}, private=True)
        stop.set()
        thread.join()
    assert answer.status is None
    assert answer.fault


# ---- where it may go -------------------------------------------------------------------------


def test_private_targets_are_refused_unless_meant(hook: Hook, settings: Settings) -> None:
    settings.WEBHOOK_PRIVATE_TARGETS = False
    endpoint(hook.address)
    emit()
    assert sender.send_due() == "0 delivered, 1 not."
    assert hook.bodies == []
    fault = Delivery.objects.get().fault
    assert "127.0.0.1, which is this machine or not on the open" in fault
    assert "WEBHOOK_PRIVATE_TARGETS" in fault


def test_every_address_of_a_name_is_judged_and_it_is_requested_for_once(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(hook.address.rsplit(":", 1)[1].split("/")[0])
    requests: list[str] = []
    answers = [["93.184.216.34", "10.0.0.1"], ["127.0.0.1"]]
    real = socket.getaddrinfo

    def names(host: str, *args: Any, **more: Any) -> Any:
        if host != "two.example":
            return real(host, *args, **more)
        requests.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answers[0]]

    monkeypatch.setattr(socket, "getaddrinfo", names)
    url = f"http://two.example:{port}/inbox"
    mixed = client.post(url, b"{}", {}, private=False)
    assert "10.0.0.1" in mixed.fault
    assert hook.bodies == []
    # The judged address is the one connected to: the name is not resolved again.
    answers.pop(0)
    requests.clear()
    assert client.post(url, b"{}", {}, private=True).status == 204
    assert requests == ["two.example"]
    assert hook.headers[0]["host"] == f"two.example:{port}"
