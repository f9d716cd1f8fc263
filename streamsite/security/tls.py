"""How servers' certificates are verified. Imports no Django: the engine uses it too.

FFmpeg 5 to 7 verify none unless told to (`tls_verify` is 0 by default). Built
with GnuTLS, as Debian's, it trusts the system's certificates by itself; built with OpenSSL it
trusts none without `ca_file`. Neither reads SSL_CERT_FILE, which Python and OpenSSL's own
programs do. So the file is always named.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

#: Certificates of Debian and Ubuntu, of Fedora and its kin, of Alpine and of OpenSSL itself.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
WRONG_NAME: Final = "certificate's owner does not match hostname"
#: Messages of FFmpeg builds that do not accept a certificate: GnuTLS, then OpenSSL.
REFUSALS: Final = (
    "Peer certificate failed verification",
    WRONG_NAME,
    "certificate verify failed",
)


def certificates() -> str:
    """The file of the authorities that are trusted; empty where none is known.

    SSL_CERT_FILE names another one, as for all programs on this machine.
    """
    if named := os.environ.get("SSL_CERT_FILE", ""):
        return named
    candidates = (ssl.get_default_verify_paths().cafile or "", *_BUNDLES)
    return next((path for path in candidates if path and Path(path).is_file()), "")


def are_there() -> bool:
    """Whether that file is there: without it every server is refused."""
    return bool(path := certificates()) and Path(path).is_file()


def verified() -> tuple[str, ...]:
    """FFmpeg's options for one input or output that it opens by TLS, as arguments."""
    trusted = certificates()
    return ("-tls_verify", "1", *(("-ca_file", trusted) if trusted else ()))


def directives() -> str:
    """The same as lines of an ffconcat list, behind the file that they are for."""
    trusted = certificates().replace("'", r"'\''")
    return "option tls_verify 1\n" + (f"option ca_file '{trusted}'\n" if trusted else "")
