"""Real TLS: our own authorities, and servers with certificates from them."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HERE = ("localhost", "127.0.0.1")


class Authority:
    """Signs certificates. `file` is the trust store that accepts them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(name, self._key.public_key(), (), authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.public_bytes(Encoding.PEM))

    def certificate(self, *names: str, days: int = 9) -> ssl.SSLContext:
        """A server context with these names; expired with negative `days`."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(names[0], key.public_key(), names, days=days)
        file = self.folder / f"{self.name}-{names[0]}-{days}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(made.public_bytes(Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _signed(
        self,
        subject: str,
        key: ec.EllipticCurvePublicKey,
        names: tuple[str, ...],
        *,
        authority: bool = False,
        days: int = 9,
    ) -> x509.Certificate:
        def called(name: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(called(subject))
            .issuer_name(called(self.name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=20))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if names:
            alternative = x509.SubjectAlternativeName([_general(name) for name in names])
            made = made.add_extension(alternative, critical=False)
        return made.sign(self._key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TlsFront:
    """Terminates TLS, perhaps before a server; `received` holds the clients' bytes."""

    def __init__(self, context: ssl.SSLContext, target: int | None = None) -> None:
        self.received = bytearray()
        #: Connections, whatever their result.
        self.tried = 0
        self._context, self._target = context, target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.tried += 1
        # A client that refuses the certificate disconnects.
        with (
            suppress(OSError),
            client,
            self._context.wrap_socket(client, server_side=True) as inner,
        ):
            if self._target is None:
                while data := inner.recv(65536):
                    self.received += data
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                threading.Thread(target=_copy, args=(server, inner), daemon=True).start()
                while data := inner.recv(65536):
                    self.received += data
                    server.sendall(data)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextmanager
def front(context: ssl.SSLContext, target: int | None = None) -> Iterator[TlsFront]:
    made = TlsFront(context, target)
    yield made
    made.close()


class _Recorded(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]  # the type is narrower at run time


class _Https(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Recorded, directory=str(folder)))
        self.requests: list[str] = []
        self.context = context

    def finish_request(self, request: object, address: object) -> None:
        # In the connection's own thread; disconnects are not reported.
        assert isinstance(request, socket.socket)
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as inner:
            super().finish_request(inner, address)


@contextmanager
def https(folder: Path, context: ssl.SSLContext) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder by https: its address, and the requested paths."""
    server = _Https(folder, context)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}", server.requests
    server.shutdown()
    thread.join()
    server.server_close()
