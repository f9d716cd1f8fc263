"""Parameters of an SRT address, as FFmpeg reads them after the "?"."""

from __future__ import annotations

import re
from typing import Final

#: Parameters that are not secret, as FFmpeg 5 to 8 know them
#: (https://ffmpeg.org/ffmpeg-protocols.html#srt).
SETTINGS: Final = frozenset(
    {
        *("connect_timeout", "enforced_encryption", "ffs", "inputbw", "iptos", "ipttl"),
        *("kmpreannounce", "kmrefreshrate", "latency", "linger", "lossmaxttl", "maxbw"),
        *("messageapi", "minversion", "mode", "mss", "nakreport", "oheadbw", "payload_size"),
        *("pbkeylen", "peerlatency", "pkt_size", "rcvbuf", "rcvlatency", "recv_buffer_size"),
        *("send_buffer_size", "smoother", "sndbuf", "snddropdelay", "timeout", "tlpktdrop"),
        *("transtype", "tsbpd"),
    }
)
#: Secret parameters.
SECRETS: Final = frozenset({"passphrase", "streamid", "srt_streamid"})
#: A number or a word: no token can hide behind a harmless name.
SETTING: Final = re.compile(r"-?\d{1,10}|[a-z]{1,12}")


def parameters(query: str) -> dict[str, str]:
    """Return the parameters with a value; + is a space, the first of equal names counts."""
    given: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if value:
            given.setdefault(name, value.replace("+", " "))
    return given


def is_supported(name: str, value: str) -> bool:
    """Whether FFmpeg accepts it as an option; it ignores all other parameters of an address."""
    return name in SECRETS or (name in SETTINGS and bool(SETTING.fullmatch(value)))
