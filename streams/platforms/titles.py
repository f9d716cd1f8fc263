"""Titles and descriptions from templates. Pure."""

from __future__ import annotations

import re
from typing import Final

#: Characters of a title: YouTube's videos (snippet.title) and Twitch's channels.
MAX_TITLE: Final = {"youtube": 100, "twitch": 140}
#: Characters of a description (snippet.description: 5000 bytes; four bytes a character).
MAX_DESCRIPTION: Final = 1250
_NAMES: Final = re.compile(r"\{(channel|now|next)\}")


def render(template: str, *, channel: str, now: str, following: str, limit: int) -> str:
    """Fill in the names; other braces stay. YouTube refuses < and > (invalidTitle)."""
    values = {"channel": channel, "now": now, "next": following}
    text = _NAMES.sub(lambda match: values[match[1]], template)
    text = text.replace("<", "‹").replace(">", "›").strip()
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"
