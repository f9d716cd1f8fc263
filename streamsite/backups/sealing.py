"""Encrypts a stream of bytes so that no part of it can be read, changed, moved or left out.

AES-256-GCM over pieces of a mebibyte, each with its number and whether it is the last in the
nonce (the construction STREAM of Hoang and others, 2015). A key seals one stream.
"""

from __future__ import annotations

from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
PIECE_BYTES: Final = 1 << 20
_TAG_BYTES: Final = 16


class SealError(Exception):
    """The key is another one, or the bytes are not those that were sealed."""


def seal(source: IO[bytes], to: IO[bytes], key: bytes) -> None:
    """Encrypts `source` to its end."""
    cipher = AESGCM(key)
    number, piece = 0, source.read(PIECE_BYTES)
    while True:
        following = source.read(PIECE_BYTES)
        to.write(cipher.encrypt(_nonce(number, last=not following), piece, None))
        if not following:
            return
        number, piece = number + 1, following


def unseal(source: IO[bytes], to: IO[bytes], key: bytes) -> None:
    """Decrypts `source` to its end. Raises `SealError`: what was written is of no use then."""
    cipher = AESGCM(key)
    number, piece = 0, source.read(PIECE_BYTES + _TAG_BYTES)
    while True:
        following = source.read(PIECE_BYTES + _TAG_BYTES)
        try:
            to.write(cipher.decrypt(_nonce(number, last=not following), piece, None))
        except InvalidTag:
            raise SealError from None
        if not following:
            return
        number, piece = number + 1, following


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
