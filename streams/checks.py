"""System checks of the playout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as Caution

from streams.monitoring.preflight import UNFIT_FFMPEG, ffmpeg_hides_keys


@register(deploy=True)
def keys_stay_hidden(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that FFmpeg hides stream keys. It runs FFmpeg: only with `check --deploy`."""
    if ffmpeg_hides_keys() is False:
        return [Caution(UNFIT_FFMPEG, id="streams.W001")]
    return []
