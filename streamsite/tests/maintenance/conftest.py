"""The library's S3 server and bucket."""

from media_library.tests.conftest import bucket, s3_server

__all__ = ["bucket", "s3_server"]
