"""The list of nodes: states, sentences, orders by page, API and command, and lost nodes."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from streams.control import nodes as orders
from streams.models import Channel, ChannelState, Node
from streams.monitoring import nodes
from streams.monitoring.nodes import NodeState, is_lost, reports, state_of
from streams.tests import rows
from streamsite.accounts.models import AuditEntry
from streamsite.notifications import events

pytestmark = pytest.mark.django_db

LIST = "/admin/streams/node/"
MINUTE = timedelta(minutes=1)


def node(name: str, silent: timedelta = timedelta(), limit: int = 4, **fields: object) -> Node:
    seen = timezone.now() - silent
    return Node.objects.create(
        name=name, seen_at=seen, max_channels=limit, ffmpeg="5", **fields
    )


def carried(name: str, *slugs: str) -> None:
    for slug in slugs:
        channel = rows.channel(slug, desired_state=Channel.DesiredState.ON)
        ChannelState.objects.create(channel=channel, owner=name)


def sentence(name: str) -> str:
    return {report.name: report.sentence for report in reports(timezone.now())}[name]


@pytest.mark.parametrize(
    ("silent", "drains", "carries", "expected"),
    [
        (False, False, 0, NodeState.ACTIVE),
        (False, True, 2, NodeState.DRAINING),
        (False, True, 0, NodeState.DRAINED),
        (True, True, 0, NodeState.DRAINED),
        (True, True, 1, NodeState.LOST),
        (True, False, 0, NodeState.LOST),
    ],
)
def test_states(silent: bool, drains: bool, carries: int, expected: NodeState) -> None:
    assert state_of(silent=silent, drains=drains, carries=carries) is expected


@pytest.mark.parametrize(
    ("silence", "drains", "carries", "expected"),
    [
        (2 * MINUTE, False, True, False),
        (3 * MINUTE, False, False, True),
        (3 * MINUTE, True, False, False),
        (3 * MINUTE, True, True, True),
        (3000 * MINUTE, False, False, False),
        (3000 * MINUTE, False, True, True),
    ],
)
def test_which_nodes_are_missed(
    silence: timedelta, drains: bool, carries: bool, expected: bool
) -> None:
    assert is_lost(silence, drains=drains, carries=carries) is expected


def test_a_sentence_explains_why_channels_stay() -> None:
    now = timezone.now()
    node("a", drain_ordered_at=now)
    carried("a", "one", "two")
    assert sentence("a") == (
        "2 channels stay: there is no other node that does not drain. Add one, or resume one."
    )
    other = node("b", limit=1)
    assert sentence("a").startswith("1 channel stays: no other node has room.")
    Node.objects.filter(pk=other.pk).update(max_channels=2)
    assert sentence("a") == "Each channel moves to another node when its item ends."
    assert sentence("b") == ""


def test_a_crowded_node_and_a_wrong_clock_are_named() -> None:
    node("a", limit=1, clock_ahead=-300.0)
    carried("a", "one", "two")
    full = "It carries 2 channels, more than MAX_CHANNELS (1): every node is full."
    assert full in sentence("a")
    node("b")
    assert "drain it to move some to other nodes" in sentence("a")
    assert "Its clock is 300 s behind the database server's." in sentence("a")


def test_the_channels_of_a_second_node_take_room() -> None:
    node("a", limit=2)
    node("b", limit=1)
    carried("a", "one")
    ChannelState.objects.update(second_owner="b")
    first, second = reports(timezone.now())
    assert (first.room, first.as_second, second.room, second.as_second) == (1, 0, 0, 1)
    assert (second.state, second.strained) == (NodeState.ACTIVE, False)
    Node.objects.filter(name="a").update(seen_at=timezone.now() - MINUTE)
    assert reports(timezone.now())[0].room is None
    Node.objects.filter(name="b").update(max_channels=0)
    assert "0 channels and 1 more as the second node" in sentence("b")
    Node.objects.filter(name="b").update(drain_ordered_at=timezone.now())
    # It must not be switched off yet.
    assert reports(timezone.now())[1].state is NodeState.DRAINING


def test_a_lost_node_is_reported_once_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []

    def sink(event: events.Event, at: datetime) -> bool:
        published.append(event.webhook)
        return True

    monkeypatch.setitem(events._sinks, "test", sink)
    lost, now = node("a", 3 * MINUTE), timezone.now()
    node("b")
    for minutes in range(3):
        nodes.report_lost(now + minutes * MINUTE / 2)
    assert published == ["node.lost"]
    Node.objects.filter(pk=lost.pk).update(seen_at=now)
    for _ in range(2):
        nodes.report_lost(now)
    assert published == ["node.lost", "node.back"]


def test_a_node_that_is_needed_stays_in_the_list() -> None:
    now = timezone.now()
    with pytest.raises(orders.NodeRefusedError, match="Node a reports: stop its playout"):
        orders.remove(node("a"), now=now, note=lambda: None)
    carried("b", "one")
    with pytest.raises(orders.NodeRefusedError, match="Node b still has One"):
        orders.remove(node("b", MINUTE), now=now, note=lambda: None)
    orders.remove(node("c", MINUTE), now=now, note=lambda: None)
    assert set(Node.objects.values_list("name", flat=True)) == {"a", "b"}


def test_the_page_gives_the_order_once_it_is_confirmed(client: Client) -> None:
    user = rows.user("streams.view_node", "streams.drain_node", "streams.view_channel")
    client.force_login(user)
    row = node("alpha")
    carried("alpha", "one")
    page = client.get(LIST).content.decode()
    order = f"{LIST}{row.pk}/drain/"
    assert order in page
    assert "/admin/monitor/one/" in page
    assert "Remove" not in page
    assert "off the air for some seconds" in " ".join(
        client.get(order).content.decode().split()
    )
    assert Node.objects.get().drain_ordered_at is None
    answer = client.post(order, follow=True).content.decode()
    assert "Node alpha drains" in answer
    assert "Resume" in answer
    assert Node.objects.get().drain_ordered_by == user.get_username()
    assert "drains already" in client.post(order, follow=True).content.decode()
    client.post(f"{LIST}{row.pk}/resume/")
    assert not Node.objects.get().drains
    assert client.post(f"{LIST}{row.pk}/remove/").status_code == 403
    log = AuditEntry.objects.filter(event="order").order_by("pk")
    assert [entry.sentence for entry in log] == ["Drain ordered.", "Resume ordered."]


def test_the_page_gives_no_order_without_the_permission(client: Client) -> None:
    client.force_login(rows.user("streams.view_node"))
    row = node("alpha", 5 * MINUTE)
    page = client.get(LIST).content.decode()
    assert "Lost" in page
    assert "/drain/" not in page
    assert "/remove/" not in page
    for verb in orders.ORDERS:
        assert client.post(f"{LIST}{row.pk}/{verb}/").status_code == 403


def test_the_api_gives_the_orders(client: Client) -> None:
    names = ("view_node", "drain_node", "delete_node", "view_channel")
    client.force_login(rows.user(*(f"streams.{name}" for name in names)))
    row = node("a", limit=3)
    carried("a", "one")
    path = f"/api/v1/nodes/{row.pk}"
    (listed,) = client.get("/api/v1/nodes").json()["items"]
    assert (listed["state"], listed["channels"], listed["room"]) == ("active", ["one"], 2)
    assert client.post(f"{path}/drain").json()["state"] == "draining"
    assert client.post(f"{path}/drain").status_code == 409
    assert client.post(f"{path}/resume").json()["drain_ordered_at"] is None
    assert client.delete(path).status_code == 409
    Node.objects.update(seen_at=timezone.now() - MINUTE)
    ChannelState.objects.update(owner="")
    assert client.delete(path).status_code == 204
    assert not Node.objects.exists()
    assert client.post(f"{path}/drain").status_code == 404


def test_a_node_that_is_removed_during_its_order_is_not_found(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("view_node", "drain_node")
    client.force_login(rows.user(*(f"streams.{name}" for name in names)))
    row = node("a")
    monkeypatch.setattr("streams.api.machines.reports", lambda _now: ())
    assert client.post(f"/api/v1/nodes/{row.pk}/drain").status_code == 404


def test_the_command_lists_drains_and_waits() -> None:
    def run(*options: str) -> str:
        out = StringIO()
        call_command("nodes", *options, stdout=out)
        return out.getvalue()

    node("a")
    carried("a", "one")
    assert run() == "a: active, room for 3 of 4; one.\n"
    with pytest.raises(CommandError, match=r"There is no node 'b'. Nodes: a."):
        run("drain", "b")
    with pytest.raises(CommandError, match=r"Node a still has one\. 1 channel stays"):
        run("drain", "a", "--wait", "0")
    assert AuditEntry.objects.get().sentence == "Drain ordered."
    ChannelState.objects.update(owner="b")
    run("resume", "a")
    assert "Node a carries no channel." in run("drain", "a", "--wait", "0")
    Node.objects.update(seen_at=timezone.now() - MINUTE)
    run("remove", "a")
    # As the page and the API record it.
    assert AuditEntry.objects.latest("pk").sentence == "Removed."
