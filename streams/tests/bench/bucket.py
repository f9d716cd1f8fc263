"""An S3 server in a process of its own, which a test may kill and restart."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

BUCKET = "films"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "s3cr3t-of-the-bucket"


@dataclass
class BucketServer:
    """moto's server. Its objects live in memory: all are uploaded again at each start."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    files: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, str]:
        """Settings of a process that uses this bucket."""
        return {
            "STORAGE_PROVIDER": "cloudflare",
            "STORAGE_BUCKET": BUCKET,
            "STORAGE_ENDPOINT_URL": self.address,
            "STORAGE_ACCESS_KEY_ID": ACCESS_KEY,
            "STORAGE_SECRET_ACCESS_KEY": SECRET,
            "CACHE_DIR": str(self.folder / "cache"),
        }

    def start(self) -> None:
        with (self.folder / "bucket.log").open("ab") as log:
            self.process = subprocess.Popen(
                (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._answers, 60, "the bucket's server answers")
        with closing(self._client()) as client:
            client.create_bucket(Bucket=BUCKET)
            for key, path in self.files.items():
                client.upload_file(str(path), BUCKET, key)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.kill()

    def put(self, path: Path, key: str) -> None:
        self.files[key] = path
        with closing(self._client()) as client:
            client.upload_file(str(path), BUCKET, key)

    def sign(self, key: str) -> Secret:
        """Return a URL that is valid for an hour."""
        with closing(self._client()) as client:
            params = {"Bucket": BUCKET, "Key": key}
            return Secret(client.generate_presigned_url("get_object", Params=params))

    def _client(self) -> Any:  # boto3 makes its classes at run time
        return boto3.client(
            "s3",
            endpoint_url=self.address,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}),
        )

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
