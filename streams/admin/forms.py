"""Forms of what people set up: days are ticked, a stream key goes in and never comes out."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Final
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelect2Widget,
    UnfoldBooleanSwitchWidget,
)

from media_library.conform import logos
from media_library.storage import StorageError
from streams.models import Block, Channel, OnAirHours, Output
from streams.models.channel import default_time_zone
from streams.models.programme import EVERY_DAY, WEEKDAYS, Span
from streamsite.http.form_uploads import KeptFileField, KeptFileInput, token_of
from streamsite.security.secret import Secret, Unreadable


class SecretWidget(UnfoldAdminPasswordWidget):  # type: ignore[misc]
    """Shows nothing that is stored. What was typed stays, if another field is wrong."""

    def get_context(self, name: str, value: object, attrs: Any) -> dict[str, Any]:
        # What was typed is text; what is stored is a `Secret`.
        self.render_value = isinstance(value, str)
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return context


class SecretInput(forms.CharField):
    """A field that shows nothing that is stored and, left empty, changes nothing."""

    def __init__(self, **options: Any) -> None:
        widget = SecretWidget(attrs={"autocomplete": "new-password"})
        super().__init__(required=False, widget=widget, **options)

    def has_changed(self, initial: object, data: object) -> bool:
        return bool(data)


class KeptLogo(UploadedFile):  # type: ignore[type-arg]
    """A logo that is in the storage already, or `fault`: a sentence why it is not.

    To check and to store it takes seconds, so it is done before the admin's transaction begins:
    in SQLite nobody else could write meanwhile.
    """

    def __init__(self, uploaded: UploadedFile[bytes]) -> None:
        super().__init__(uploaded.file, uploaded.name, uploaded.content_type, uploaded.size)
        self.kept_token = token_of(uploaded)
        self.digest, self.fault = "", ""
        #: The fault is the file's own: another try with it would not help.
        self.unusable = False
        try:
            # Kept under its content: nothing is overwritten, whatever becomes of the form.
            self.digest = logos.keep(uploaded.read(logos.MAX_BYTES + 1))
        except logos.LogoError as error:
            self.fault, self.unusable = str(error), True
        except StorageError as error:
            self.fault = str(error)


class LogoInput(KeptFileInput, UnfoldAdminFileFieldWidget):  # type: ignore[misc]
    """The theme's input of a file; a file that was chosen before a fault is kept."""


class WeekdaysInput(UnfoldAdminCheckboxSelectMultipleWidget):  # type: ignore[misc]
    def get_context(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(*args, **kwargs)
        # In a row: the theme's word for it.
        return context | {"radio_style": 1}


class WeekdaysField(forms.MultipleChoiceField):
    """Seven boxes for the number in which a row keeps its weekdays."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            choices=[(str(day), name) for day, name in enumerate(WEEKDAYS)],
            widget=WeekdaysInput,
            error_messages={"required": "Choose one day at least."},
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        # The row's number, or the same as text in an address; what was ticked is a list.
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return [str(day) for day in range(7) if int(value) >> day & 1]
        return value

    def clean(self, value: Any) -> Any:
        return Span.of_weekdays(int(day) for day in super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


_DAYS: Final = "On each of these days, unless the dates below leave it out."
_ENDS: Final = (
    "A time that is not after the start is on the next day: from 03:00 to 03:00 is 24 hours."
)
_DATES: Final = "Left empty: no limit. For a single day, put the same day into both."


class SeenForm(forms.ModelForm):  # type: ignore[type-arg]
    """Carries what it showed, so that one page does not silently undo what another has changed.

    What was changed meanwhile is refused once, and what was typed is kept: whoever saves again
    has read of it.
    """

    #: The fields of the row that nobody else may have changed.
    seen_fields: ClassVar[tuple[str, ...]] = ()

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["seen"].initial = self._token(self.instance)

    def _token(self, row: Any) -> str:
        values = "/".join(str(getattr(row, name)) for name in self.seen_fields)
        return hashlib.sha256(values.encode()).hexdigest()[:16]

    def _now(self, row: Any) -> str:
        """What it is by now, for the operator."""
        return str(row)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        seen = cleaned.pop("seen", "")
        if not (self.instance.pk and seen):
            return cleaned
        # The admin's page is a transaction: nobody changes it between here and the save.
        rows = type(self.instance)._default_manager.select_for_update()  # noqa: SLF001
        row = rows.filter(pk=self.instance.pk).first()
        if row is not None and (token := self._token(row)) != seen:
            if isinstance(self.data, QueryDict):
                typed = self.data.copy()
                typed[self.add_prefix("seen")] = token
                self.data = typed
            self.add_error(
                None,
                "Somebody else has changed it since this page was opened: it is now "
                f"{self._now(row)}. Nothing was saved. Save again to have it as it stands "
                "below instead.",
            )
        return cleaned


class SpanForm(forms.ModelForm):  # type: ignore[type-arg]
    """Days, times and dates of a block, or of a channel's hours."""

    days = WeekdaysField(initial=EVERY_DAY, help_text=_DAYS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in {"first_day", "last_day"} & self.fields.keys():
            self.fields[name].help_text = _DATES if name == "first_day" else "Included."


class HoursForm(SpanForm):
    class Meta:
        model = OnAirHours
        help_texts: ClassVar = {"ends": _ENDS}
        fields = ("days", "starts", "ends", "first_day", "last_day")


class BlockForm(SeenForm, SpanForm):
    seen_fields = (
        *("channel_id", "name", "playlist_id", "order", "enabled", "days", "starts", "ends"),
        *("first_day", "last_day", "start", "fit", "priority", "max_rating"),
    )

    def _now(self, row: Block) -> str:
        how = "" if row.enabled else ", off"
        return (
            f"“{row.name}”, {row.in_words}, of “{row.playlist}”, priority {row.priority}{how}"
        )

    class Meta:
        model = Block
        # The admin's fieldsets choose among them.
        fields = "__all__"  # noqa: DJ007
        help_texts: ClassVar = {
            "playlist": "Plays in place of the channel's own while the block is on.",
            "order": "Shuffle plays every item once a round, none again soon after.",
            "enabled": "Off: it is kept, but not played.",
            "starts": "On a day when clocks go forward, a time that is left out is played an "
            "hour later.",
            "ends": _ENDS,
            "start": "Soft never cuts an item short, so the block may begin late by one item.",
        }


#: Where a logo stands.
LOGO = {"logo_corner", "logo_width"}


class ChannelForm(SeenForm):
    seen_fields = (
        *("name", "slug", "playlist_id", "playlist_order", "filler_id", "time_zone"),
        *("max_rating", "on_return", "preview", "public_guide"),
    )

    def _now(self, row: Channel) -> str:
        return (
            f"“{row.name}”, playing “{row.playlist or 'nothing'}” "
            f"({row.get_playlist_order_display().lower()}), filler “{row.filler or 'none'}”, "
            f"in the time of {row.time_zone}"
        )

    logo_file = KeptFileField(
        label="Logo",
        required=False,
        widget=LogoInput(attrs={"accept": "image/png"}),
        help_text="A PNG of 2 MB and 4096 pixels at most. It is burnt into every item: all are "
        "prepared again.",
    )
    remove_logo = forms.BooleanField(
        label="Remove the logo", required=False, widget=UnfoldBooleanSwitchWidget
    )

    time_zone = forms.ChoiceField(
        choices=sorted((name, name) for name in available_timezones()),
        widget=UnfoldAdminSelect2Widget,
        help_text="Blocks and hours are in its time. Type to search.",
    )

    class Meta:
        model = Channel
        # The admin's fieldsets choose among them.
        fields = "__all__"  # noqa: DJ007

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time_zone" in self.fields:
            self.fields["time_zone"].initial = default_time_zone()
        if "filler" in self.fields and settings.STORAGE_PROVIDER == "local":
            # It can't be kept anywhere else, and a copy on the same disk would help nobody.
            self.fields["filler"].help_text = (
                "Played when the programme can't be. It lies in the media folder, as "
                "everything does: while that is away, the slate is shown."
            )
        # A channel on air shows them as they are, and has no such fields.
        for name in LOGO & self.fields.keys():
            # Left out, they stay as they are.
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in LOGO & cleaned.keys():
            cleaned[name] = cleaned[name] or getattr(self.instance, name)
        # ChannelAdmin.changeform_view puts it in the place of the file.
        uploaded: KeptLogo | None = cleaned.get("logo_file")
        if uploaded and uploaded.fault:
            self.add_error("logo_file", uploaded.fault)
        elif uploaded:
            self.instance.logo = uploaded.digest
        elif cleaned.get("remove_logo"):
            self.instance.logo = ""
        return cleaned


#: The secrets of an output: what they are called, and the switch that forgets each.
OUTPUT_SECRETS: Final = {
    "key": ("key", "forget_key"),
    "secret_query": ("secret parameters", "forget_secret_query"),
}


class OutputForm(forms.ModelForm):  # type: ignore[type-arg]
    key = SecretInput(label="Stream key")
    forget_key = forms.BooleanField(
        label="Forget the key", required=False, widget=UnfoldBooleanSwitchWidget
    )
    secret_query = SecretInput(
        label="Secret parameters",
        help_text="What your server wants after the “?” of its address: token=… or, of SRT, "
        "passphrase=….",
    )
    forget_secret_query = forms.BooleanField(
        label="Forget the secret parameters", required=False, widget=UnfoldBooleanSwitchWidget
    )

    class Meta:
        model = Output
        fields = (
            "name",
            "platform",
            "url",
            "key",
            "forget_key",
            "secret_query",
            "forget_secret_query",
            "verify_certificate",
            "roll_over_hours",
            "enabled",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, (called, forget) in OUTPUT_SECRETS.items():
            value = getattr(self.instance, name)
            stored = bool(self.instance.pk and value)
            self.fields[name].widget.attrs["placeholder"] = (
                "Stored, but it can't be read: type it again."
                if isinstance(value, Unreadable)
                else "Stored. Leave empty to keep it."
                if stored
                else f"No {called} {'are' if called.endswith('s') else 'is'} stored."
            )
            if not stored:
                self.fields[forget].disabled = True

    def clean_key(self) -> Secret:
        return self._typed("key")

    def clean_secret_query(self) -> Secret:
        return self._typed("secret_query")

    def _typed(self, name: str) -> Secret:
        typed = str(self.cleaned_data[name]).strip()
        if name == "secret_query":
            typed = typed.lstrip("?&")
        if typed:
            return Secret(typed)
        kept: Secret = getattr(self.instance, name) or Secret("")
        return kept

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, (_, forget) in OUTPUT_SECRETS.items():
            if cleaned.get(forget) and not self.data.get(self.add_prefix(name)):
                cleaned[name] = Secret("")
        return cleaned
