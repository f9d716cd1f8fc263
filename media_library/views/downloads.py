"""Pages of downloads from the web, and of yt-dlp. Their scripts call the API."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from media_library.downloads import health, jobs
from media_library.downloads.jobs import Order, OrderError
from media_library.downloads.metadata import MAX_ENTRIES
from media_library.downloads.options import (
    Container,
    Options,
    OptionsError,
    Quality,
    Sound,
    Subtitles,
)
from streamsite.api.auth import Caller
from streamsite.api.permissions import KeyPermission
from streamsite.http.responses import staff

#: Permission of staff for sites that yt-dlp does not know; keys have it from ADMIN on.
ANY_SITE: Final = "media_library.download_from_any_site"

_QUALITIES: Final = [
    (quality.value, f"{quality.value}p" if quality else "Best available") for quality in Quality
]
_SUBTITLES: Final = [
    (Subtitles.NONE.value, "None"),
    (Subtitles.MANUAL.value, "Made by people"),
    (Subtitles.AUTOMATIC.value, "Made by people, otherwise automatic"),
]


class OptionsForm(forms.Form):
    """The options of each video."""

    quality = forms.TypedChoiceField(
        choices=_QUALITIES, coerce=int, initial=Quality.BEST.value, label="Quality"
    )
    container = forms.ChoiceField(
        choices=[
            (Container.MP4.value, "MP4 (least preparation)"),
            (Container.MKV.value, "MKV"),
            (Container.WEBM.value, "WebM"),
        ],
        label="Container",
    )
    sound = forms.ChoiceField(
        choices=[
            ("", "The whole video"),
            *((sound.value, sound.value) for sound in Sound if sound),
        ],
        required=False,
        label="Audio only",
    )
    subtitles = forms.ChoiceField(choices=_SUBTITLES, label="Subtitles")
    languages = forms.CharField(
        initial="en", required=False, max_length=100, help_text="Such as: en, pt-BR, zh-Hans"
    )
    translate = forms.CharField(
        label="Translate the subtitles into",
        required=False,
        max_length=100,
        help_text="Such as: de, fr. Machine translations, beside the original subtitles.",
    )
    thumbnail = forms.BooleanField(initial=True, required=False, label="Keep its picture")
    metadata = forms.BooleanField(initial=True, required=False, label="Write title and date")
    chapters = forms.BooleanField(initial=True, required=False, label="Write chapters")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        chosen = {name: data[name] for name in OptionsForm.base_fields}
        for name in ("languages", "translate"):
            chosen[name] = data[name].replace(",", " ").split()
        try:
            data["options"] = Options.of(chosen)
            jobs.fits(data["options"])
        except (OptionsError, OrderError) as error:
            raise forms.ValidationError(str(error)) from None
        return data


class AddForm(OptionsForm):
    """The fields of the page. Its script sends them to the API."""

    urls = forms.CharField(
        label="Addresses",
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 4, "placeholder": "https://…"}),
        help_text="One per line. For a playlist or channel, press “Look first” and choose.",
    )
    cap = forms.IntegerField(
        initial=50,
        min_value=1,
        max_value=MAX_ENTRIES,
        label="Maximum videos of a list",
    )
    rights = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        label="Rights",
        help_text="Permission of the rights holder, and its end. Stored with the item.",
    )
    again = forms.BooleanField(
        required=False, label="Download even if the library has the video"
    )
    field_order = ("urls", "rights")


def order_of(who: Caller, *, again: bool = False, rights: str = "") -> Order:
    """Returns who orders, whose quota is used, and whether any site is allowed."""
    if who.key is not None:
        owner, any_site = f"key:{who.key.pk}", who.key.may.includes(KeyPermission.ADMIN)
    elif who.user is not None:
        owner = f"user:{who.user.pk}"
        any_site = who.has_perm(ANY_SITE)
    else:
        raise TypeError("The caller is anonymous.")
    return Order(by=who.name, owner=owner, any_site=any_site, again=again, rights=rights)


@require_GET
@staff("media_library.add_downloadjob")
def page(request: HttpRequest) -> HttpResponseBase:
    """The form. Its script inspects the first address, and orders."""
    context = {
        **admin.site.each_context(request),
        "title": "Download",
        "form": AddForm(),
        "any_site": request.user.has_perm(ANY_SITE),
    }
    return TemplateResponse(request, "media_library/download.html", context)


@require_GET
@staff("media_library.view_downloadjob")
def tool(request: HttpRequest) -> HttpResponseBase:
    """The state of yt-dlp, of the sites and of their cookies."""
    context = {
        **admin.site.each_context(request),
        "title": "Download tool",
        "report": health.report(timezone.now()),
    }
    return TemplateResponse(request, "media_library/download_tool.html", context)
