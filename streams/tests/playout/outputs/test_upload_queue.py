"""Names, numbers and playlists of an upload by HLS; what is taken and what is missed."""

from __future__ import annotations

import json
import socket
import ssl

import pytest

from streams.playout.ffmpeg import diagnosis
from streams.playout.outputs import upload, upload_queue
from streams.playout.outputs.upload_queue import MAX_WAITING_S, Queue, Segment


def window(first: int, last: int, run: int = 7, broken: int = -1) -> list[Segment]:
    return [Segment(f"{run}-{n:08d}.ts", 2.0, n == broken) for n in range(first, last + 1)]


def taken(queue: Queue, segments: list[Segment], begin: int = 2) -> Queue:
    for segment in upload_queue.news(queue, segments, begin)[0]:
        queue = upload_queue.take(queue, segment, file=f"{queue.taken:08d}.ts")
    return queue


@pytest.mark.parametrize(
    ("seen", "segments", "begin", "names", "missed"),
    [
        pytest.param("", window(0, 9), 2, [8, 9], 0, id="a new stream starts near the end"),
        pytest.param("", window(0, 9), 0, list(range(10)), 0, id="or takes the whole window"),
        pytest.param("7-00000008.ts", window(0, 9), 2, [9], 0, id="the next one"),
        pytest.param("7-00000009.ts", window(0, 9), 2, [], 0, id="nothing new"),
        pytest.param("7-00000003.ts", window(6, 9), 2, [6, 7, 8, 9], 2, id="two are gone"),
        pytest.param("7-00000003.ts", window(4, 5), 2, [4, 5], 0, id="exactly the next ones"),
        pytest.param("7-00000030.ts", window(0, 1), 2, [0, 1], -1, id="a new window"),
        pytest.param("6-00000003.ts", window(4, 5), 2, [4, 5], -1, id="a new run"),
        pytest.param("7-00000003.ts", [], 2, [], 0, id="an empty window"),
    ],
)
def test_what_is_taken_from_the_window(
    seen: str, segments: list[Segment], begin: int, names: list[int], missed: int
) -> None:
    queue = Queue("s", "e", seen=seen, taken=1)
    new, count = upload_queue.news(queue, segments, begin)
    assert [int(segment.file[2:-3]) for segment in new] == names
    assert count == missed
    # A hole is announced by its first segment alone.
    assert [segment.broken for segment in new] == [bool(missed), *[False] * len(new)][
        : len(new)
    ]


def test_a_minute_waits_and_the_rest_stays_in_the_window() -> None:
    queue = taken(Queue("s", "e"), window(0, 99), begin=0)
    assert queue.seconds == MAX_WAITING_S
    assert upload_queue.news(queue, window(0, 99), 0) == ([], 0)
    # Before there is room again, the window has moved on.
    queue = upload_queue.acknowledged(queue)
    new, missed = upload_queue.news(queue, window(40, 49), 0)
    assert ([segment.file for segment in new], missed) == (["7-00000040.ts"], 10)


def test_numbers_rise_and_playlists_list_two_before() -> None:
    queue = taken(Queue("s", "e"), window(0, 3, broken=2), begin=0)
    texts = []
    while queue.waiting:
        # Another process goes on with the same names.
        queue = upload_queue.decode(json.loads(json.dumps(upload_queue.encode(queue))))
        texts.append(upload_queue.playlist(queue))
        queue = upload_queue.acknowledged(queue)
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:"
    assert texts[0] == f"{head}0\n#EXTINF:2.000000,\ns-00000000.ts\n"
    assert texts[3] == (
        f"{head}1\n#EXTINF:2.000000,\ns-00000001.ts\n"
        "#EXT-X-DISCONTINUITY\n#EXTINF:2.000000,\ns-00000002.ts\n"
        "#EXTINF:2.000000,\ns-00000003.ts\n"
    )
    queue = taken(queue, window(4, 5))
    queue = upload_queue.acknowledged(queue)
    # The discontinuity has left the list, which counts it from now on.
    assert f"{head}3\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in upload_queue.playlist(queue)


def test_a_lost_file_leaves_no_hole_in_the_numbers() -> None:
    queue = upload_queue.lost(taken(Queue("s", "e"), window(0, 1), begin=0))
    assert "s-00000000.ts" in upload_queue.playlist(queue)
    assert queue.waiting[0].broken
    assert upload_queue.lost(queue).waiting == ()


def test_the_hubs_playlist_is_read() -> None:
    text = (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:3\n"
        "#EXTINF:2.000000,\n7-00000003.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.500000,\n7-4.ts\n"
    )
    expected = [Segment("7-00000003.ts", 2.0), Segment("7-4.ts", 1.5, broken=True)]
    assert upload_queue.listed(text) == expected


def test_how_far_an_upload_starts_behind() -> None:
    queue = taken(Queue("s", "e"), window(0, 3), begin=0)
    assert upload_queue.behind(None, window(0, 9), 2) == 4
    assert upload_queue.behind(queue, window(0, 9), 2) == 20


def refused(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "no")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (upload.StatusError("401"), "check the stream key"),
        (upload.StatusError("404"), "knows no such upload"),
        (upload.StatusError("302"), "redirects, which is not followed"),
        (upload.StatusError("400"), "check address and stream key"),
        (upload.StatusError("503"), "reported an internal error"),
        (TimeoutError("timed out"), "did not answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "No server accepts connections"),
        (socket.gaierror(-2, "Name or service not known"), "name can't be resolved"),
        (refused(62), "The certificate of a.example:443 can't be verified: it is for another"),
        (refused(19), "The certificate of a.example:443 can't be verified: it has expired"),
        (OSError(28, "No space left on device"), "run directory, which is in memory, is full"),
        (ValueError("https://a.example/?cid=key-1"), "connection to the server broke"),
    ],
)
def test_why_an_upload_ended(error: Exception, cause: str) -> None:
    earlier = "[warning] Connection refused: sent again."
    last = f"[fatal] {upload.ENDED}: https://a.example:443 {upload.words(error)}"
    assert cause in diagnosis.pusher(1, [earlier, last])
    assert "key-1" not in last
