"""Translated subtitles, from a fake of LibreTranslate that serves its API over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from media_library.downloads import jobs, subtitles, translation, worker
from media_library.downloads.jobs import Order, OrderError
from media_library.downloads.options import Options, Subtitles
from media_library.downloads.subtitles import Cue
from media_library.downloads.translation import Server, TranslateError, batches, codes
from media_library.models import DownloadJob
from media_library.tests import rows
from media_library.tests import web as sites
from media_library.tests.web import Web, web_site
from streamsite.security.secret import Secret
from streamsite.security.ssrf import networks

Status = DownloadJob.Status
KEY = "the-key-of-the-translator"
LANGUAGES = [
    {"code": "en", "name": "English", "targets": ["de", "en", "pt"]},
    {"code": "de", "name": "German", "targets": ["de", "en"]},
]
Answer = tuple[int, Any]


@dataclass
class Fake:
    """Turns each text into capitals after its target's name."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    #: Replaces its usual answer to a translation.
    instead: Callable[[], Answer] | None = None
    url: str = ""

    def answer(self, path: str, body: dict[str, Any] | None) -> Answer:
        if path == "/languages":
            return 200, LANGUAGES
        assert path == "/translate"
        assert body is not None
        self.requests.append(body)
        if self.instead is not None:
            return self.instead()
        if body.get("api_key") != KEY:
            return 403, {"error": f"Invalid API key {body.get('api_key')}"}
        return 200, {
            "translatedText": [f"{body['target']}: {text_.upper()}" for text_ in body["q"]]
        }


@pytest.fixture
def fake(settings: Settings) -> Iterator[Fake]:
    server = Fake()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Logs nothing."""

        def do_GET(self) -> None:
            self.respond(*server.answer(self.path, None))

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.respond(*server.answer(self.path, json.loads(self.rfile.read(length))))

        def respond(self, status: int, content: Any) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", f"{server.url}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    settings.LIBRETRANSLATE_URL = server.url
    settings.LIBRETRANSLATE_KEY = Secret(KEY)
    yield server
    http.shutdown()
    http.server_close()


def cues(*texts: str) -> list[Cue]:
    return [Cue(n * 1000, n * 1000 + 900, (text,)) for n, text in enumerate(texts)]


def translate(fake: Fake, *texts: str, key: str = KEY) -> list[Cue]:
    server = Server(f"{fake.url}/", Secret(key))
    return server.translate(cues(*texts), "en", "de", lambda: None)


# ---- pure ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("en", "de", ("en", "de")),
        ("en-GB", "pt-BR", ("en", "pt")),
        ("EN", "DE", ("en", "de")),
    ],
)
def test_languages_by_the_servers_codes(
    source: str, target: str, expected: tuple[str, str]
) -> None:
    assert codes(LANGUAGES, source, target) == expected


@pytest.mark.parametrize(
    ("languages", "source", "target", "why"),
    [
        (LANGUAGES, "fr", "de", "does not support fr"),
        (LANGUAGES, "de", "pt", "does not translate de into pt"),
        ({"error": "x"}, "en", "de", "can't be read"),
        (None, "en", "de", "can't be read"),
        ([{"code": "en"}], "en", "de", "can't be read"),
    ],
)
def test_unsupported_languages(languages: Any, source: str, target: str, why: str) -> None:
    with pytest.raises(TranslateError, match=why):
        codes(languages, source, target)


def test_batches_stay_within_the_servers_limits() -> None:
    many = cues(*(str(n) for n in range(translation.MAX_BATCH_TEXTS * 2 + 1)))
    assert [len(batch) for batch in batches(many)] == [
        translation.MAX_BATCH_TEXTS,
        translation.MAX_BATCH_TEXTS,
        1,
    ]
    long = cues("a" * 1500, "b" * 1500, "c" * 5000)
    assert [len(batch) for batch in batches(long)] == [1, 1, 1]
    assert [cue for batch in batches(many) for cue in batch] == many
    assert list(batches([])) == []


def test_the_profile_of_jobs_without_translations_is_unchanged() -> None:
    assert "translate" not in Options().as_json()
    assert Options.of(Options(translate=("de",)).as_json()).translate == ("de",)
    assert Options(translate=("de",)).profile != Options().profile


# ---- with the server -------------------------------------------------------------------------


def test_a_translation_keeps_its_times(fake: Fake) -> None:
    (first, second) = translate(fake, "one thing", "and another " * 6)
    assert (first.start, first.end, first.lines) == (0, 900, ("de: ONE THING",))
    # Lines are as wide as a screen permits.
    assert len(second.lines) == 2
    assert max(map(len, second.lines)) <= translation.LINE_CHARS
    (request,) = fake.requests
    assert (request["source"], request["target"], request["format"]) == ("en", "de", "text")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((429, {"error": "Slowdown"}), "HTTP 429. Slowdown"),
        ((500, b"<html>"), "HTTP 500"),
        ((302, b""), "HTTP 302"),
        ((200, b"<html>"), "can't be read"),
        ((200, {"translatedText": "one"}), "a wrong number of texts"),
        ((200, {"translatedText": []}), "a wrong number of texts"),
        ((200, []), "a wrong number of texts"),
    ],
)
def test_a_server_that_does_not_translate(fake: Fake, answer: Answer, why: str) -> None:
    fake.instead = lambda: answer
    with pytest.raises(TranslateError, match=why):
        translate(fake, "one")


def test_no_error_contains_the_key(fake: Fake) -> None:
    with pytest.raises(TranslateError, match=r"HTTP 403\. Invalid API key …") as failed:
        translate(fake, "one", key="another-key")
    assert "another-key" not in str(failed.value)


def test_an_unreachable_server() -> None:
    server = Server(f"http://127.0.0.1:{sites.free_port()}", Secret(""))
    with pytest.raises(TranslateError, match="can't be reached"):
        server.translate(cues("one"), "en", "de", lambda: None)


# ---- in a download ---------------------------------------------------------------------------


@pytest.fixture
def site(
    settings: Settings, folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    home = tmp_path_factory.mktemp("site")
    sites.make_videos(home)
    with web_site(home) as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        yield served


def ordered(site: Web, *languages: str) -> DownloadJob:
    order = Order(by="ada", owner="user:1", any_site=True)
    options = Options(subtitles=Subtitles.MANUAL, translate=languages)
    job = jobs.take(jobs.add(site.url("hls/master.m3u8"), options, order).pk, timezone.now())
    assert job is not None
    return job


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.django_db(transaction=True)
def test_translations_lie_beside_the_originals(folder: Path, site: Web, fake: Fake) -> None:
    job = ordered(site, "de", "en", "fr")
    worker.work(job)
    job.refresh_from_db()
    assert (job.status, job.fault) == (Status.DONE, "")
    kept = {(extra["language"], extra["kind"]): extra for extra in job.extras}
    assert {language for language, _ in kept} == {"en", "de"}
    assert kept["de", "srt"]["translated_from"] == "en"
    # Subtitles made by people are not translated again.
    assert "translated_from" not in kept["en", "srt"]
    assert kept["de", "srt"]["key"] == "downloads/127-0-0-1/master.de.srt"
    made = subtitles.parse((folder / kept["de", "srt"]["key"]).read_text())
    assert [(cue.start, *cue.lines) for cue in made] == [
        (0, "de: ONE THING"),
        (1500, "de: AND ANOTHER"),
    ]
    assert (folder / kept["en", "txt"]["key"]).read_text() == "one thing and another\n"
    assert job.warnings == ["No subtitles in fr: it does not translate en into fr."]


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.django_db(transaction=True)
def test_a_failed_translation_does_not_fail_the_download(
    folder: Path, site: Web, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.instead = lambda: (500, {"error": f"it broke over {KEY}"})
    job = ordered(site, "de")
    worker.work(job)
    job.refresh_from_db()
    assert (job.status, job.fault) == (Status.DONE, "")
    assert {extra["language"] for extra in job.extras if extra["kind"] == "srt"} == {"en"}
    assert job.warnings == ["No subtitles in de: HTTP 500. it broke over …"]
    assert KEY not in caplog.text


@pytest.mark.slow
@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.django_db(transaction=True)
def test_cancelled_while_it_is_translated_nothing_is_left(
    folder: Path, site: Web, fake: Fake
) -> None:
    job = ordered(site, "de", "pt")

    def meanwhile() -> Answer:
        jobs.cancel(DownloadJob.objects.get(pk=job.pk))
        # The fake answers in its own thread.
        connections.close_all()
        return 200, {"translatedText": ["eins", "zwei"]}

    fake.instead = meanwhile
    assert worker.work(job) == "Cancelled."
    job.refresh_from_db()
    assert (job.status, job.key, job.extras) == (Status.CANCELLED, "", [])
    assert len(fake.requests) == 1
    assert [file for file in folder.rglob("*") if file.is_file()] == []


# ---- orders ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_without_a_server_no_translation_is_ordered(settings: Settings) -> None:
    settings.LIBRETRANSLATE_URL = ""
    order = Order(by="ada", owner="user:1")
    with pytest.raises(OrderError, match="LIBRETRANSLATE_URL"):
        jobs.add("https://example.org/a", Options(translate=("de",)), order)
    assert not DownloadJob.objects.exists()


@pytest.mark.django_db
def test_ordered_on_the_page(settings: Settings) -> None:
    client = Client()
    client.force_login(rows.user("add_downloadjob", "view_downloadjob"))
    order = {"subtitles": "manual", "translate": ["de", "pt-BR"]}
    order |= {"url": "https://example.org/a"}
    settings.LIBRETRANSLATE_URL = ""
    refused = client.post("/api/v1/download", order, "application/json")
    assert "No translation server is configured" in refused.json()["detail"]
    settings.LIBRETRANSLATE_URL = "http://127.0.0.1:5000"
    client.post("/api/v1/download", order, "application/json")
    assert DownloadJob.objects.get().options["translate"] == ["de", "pt-BR"]
