"""A folder and a bucket for the library's tests; the bucket is served over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pytest_django import Settings

from media_library.storage import backends
from media_library.tests import web as sites
from media_library.tests.web import Web, web_site
from streamsite.security.secret import Secret
from streamsite.security.ssrf import networks
from streamsite.tests.once import Once


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test has just written count as complete."""
    monkeypatch.setattr("media_library.storage.list_objects.SETTLED_AFTER_S", 0.0)


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """The storage is a folder of this test."""
    settings.STORAGE_PROVIDER = "local"
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    # Assigned again, so that Django drops the open storage.
    settings.STORAGES = dict(settings.STORAGES)
    return tmp_path / "media"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 server in this process."""
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    yield f"http://{host}:{port}"
    s3.stop()


@pytest.fixture
def bucket(s3_server: str, settings: Settings) -> Iterator[None]:
    """The storage is the bucket "films", empty before and after."""
    settings.STORAGE_PROVIDER = "cloudflare"
    settings.STORAGE_ENDPOINT_URL = s3_server
    settings.STORAGE_BUCKET = "films"
    settings.STORAGE_ACCESS_KEY_ID = "AKIDEXAMPLE"
    settings.STORAGE_SECRET_ACCESS_KEY = Secret("s3cr3t")
    settings.STORAGES = dict(settings.STORAGES)
    client = boto3.client(
        "s3",
        endpoint_url=s3_server,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    client.create_bucket(Bucket="films")
    yield
    while objects := client.list_objects_v2(Bucket="films").get("Contents"):
        client.delete_objects(
            Bucket="films", Delete={"Objects": [{"Key": object_["Key"]} for object_ in objects]}
        )
    client.delete_bucket(Bucket="films")
    client.close()
    backends.client().close()


@pytest.fixture(params=["folder", "bucket"])
def either(request: pytest.FixtureRequest) -> str:
    """Once with the folder, once with the bucket."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def video_folder(once: Once, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos, for a site to download from."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(once("videos", sites.make_videos), folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def site(video_folder: Path, settings: Settings, tmp_path: Path) -> Iterator[Web]:
    """A site on this machine that downloads may reach."""
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    with web_site(video_folder) as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        yield served
