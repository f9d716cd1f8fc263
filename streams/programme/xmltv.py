"""Writes a guide in the XMLTV format (xmltv.dtd of the XMLTV project, version 1). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tv SYSTEM "xmltv.dtd">\n'
#: Characters that XML 1.0 (2.2) does not allow.
_NO_CHARACTER: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Listing:
    """A programme of the guide."""

    title: str
    begins: datetime
    ends: datetime
    description: str = ""
    categories: Sequence[str] = ()
    #: An age in years; None: not rated.
    rating: int | None = None


def document(ident: str, name: str, listings: Iterable[Listing], zone: tzinfo) -> bytes:
    """Return the guide of one channel, in UTF-8, with times in that zone.

    If one listing ends in the second in which the next begins, their times are equal.
    """
    root = Element("tv", {"generator-info-name": "streamsite"})
    channel = SubElement(root, "channel", {"id": ident})
    _text(channel, "display-name", name)
    for listing in listings:
        begins, ends = _time(listing.begins, zone), _time(listing.ends, zone)
        if begins == ends:
            continue
        # The DTD prescribes the order of the elements.
        programme = SubElement(
            root, "programme", {"start": begins, "stop": ends, "channel": ident}
        )
        _text(programme, "title", listing.title)
        if listing.description:
            _text(programme, "desc", listing.description)
        for category in listing.categories:
            _text(programme, "category", category)
        if listing.rating is not None:
            _text(
                SubElement(programme, "rating", {"system": "age"}), "value", str(listing.rating)
            )
    return _HEAD.encode() + tostring(root, encoding="unicode").encode() + b"\n"


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = _NO_CHARACTER.sub("", text)


def _time(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).strftime("%Y%m%d%H%M%S %z")
