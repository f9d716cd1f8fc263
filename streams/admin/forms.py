"""Admin forms: weekdays as checkboxes; stream keys are accepted, but never shown."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Final
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.http import QueryDict
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelect2Widget,
    UnfoldBooleanSwitchWidget,
)

from streams.models import Block, Channel, OnAirHours, Output, PlatformAccount
from streams.models.channel import default_time_zone
from streams.models.programme import EVERY_DAY, WEEKDAYS, Span
from streamsite.security.secret import Secret, Unreadable


class SecretWidget(UnfoldAdminPasswordWidget):
    """Shows no stored value. An entered value stays if another field has an error."""

    def get_context(self, name: str, value: object, attrs: Any) -> dict[str, Any]:
        # An entered value is a text; a stored one is a `Secret`.
        self.render_value = isinstance(value, str)
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return context


class SecretInput(forms.CharField):
    """A field that shows no stored value. If it is empty, the stored value stays."""

    def __init__(self, **options: Any) -> None:
        widget = SecretWidget(attrs={"autocomplete": "new-password"})
        super().__init__(required=False, widget=widget, **options)

    def has_changed(self, initial: object, data: object) -> bool:
        return bool(data)


class WeekdaysInput(UnfoldAdminCheckboxSelectMultipleWidget):
    def get_context(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(*args, **kwargs)
        # The theme's option for a horizontal list.
        return context | {"radio_style": 1}


class WeekdaysField(forms.MultipleChoiceField):
    """Seven checkboxes for the bit mask in which a row stores its weekdays."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            choices=[(str(day), name) for day, name in enumerate(WEEKDAYS)],
            widget=WeekdaysInput,
            error_messages={"required": "Choose at least one day."},
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        # The row's number, or the same as text in a URL; checked boxes are a list.
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return [str(day) for day in range(7) if int(value) >> day & 1]
        return value

    def clean(self, value: Any) -> Any:
        return Span.of_weekdays(int(day) for day in super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


_DAYS: Final = "It holds on each of these days within the dates below."
_ENDS: Final = (
    "A time that is not after the start is on the next day: 03:00 to 03:00 is 24 hours."
)
_DATES: Final = "Empty: no limit. For a single day, enter the same day in both fields."


class SeenForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """Detects that the row was changed after the form was opened.

    The first save after such a change is refused with a message, and the entered values are
    kept. Saving again overwrites the change.
    """

    #: The fields that are compared.
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
        """Returns the present values in words."""
        return str(row)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        seen = cleaned.pop("seen", "")
        if not (self.instance.pk and seen):
            return cleaned
        # The admin's page is a transaction: the row is locked until the save.
        rows = type(self.instance)._default_manager.select_for_update()
        row = rows.filter(pk=self.instance.pk).first()
        if row is not None and (token := self._token(row)) != seen:
            if isinstance(self.data, QueryDict):
                typed = self.data.copy()
                typed[self.add_prefix("seen")] = token
                self.data = typed
            self.add_error(
                None,
                "Somebody else has changed it since this page was opened. It is now "
                f"{self._now(row)}. Nothing was saved. Save again to overwrite it with the "
                "values below.",
            )
        return cleaned


class SpanForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """Days, times and dates of a block, or of a channel's on-air hours."""

    days = WeekdaysField(initial=EVERY_DAY, help_text=_DAYS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in {"first_day", "last_day"} & self.fields.keys():
            self.fields[name].help_text = (
                _DATES if name == "first_day" else "This day is included."
            )


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
        # The admin's fieldsets select the fields.
        fields = "__all__"  # noqa: DJ007 - the admin names the fields
        help_texts: ClassVar = {
            "playlist": "Plays instead of the channel's own playlist while the block is on.",
            "order": "Shuffle plays every item once per round, without early repeats.",
            "enabled": "If it is off, the block is kept but not played.",
            "starts": "When clocks go forward, a start time that is skipped on that day is "
            "one hour later.",
            "ends": _ENDS,
            "start": "A soft start never cuts an item, so the block may start one item late.",
        }


#: Fields of the logo's position.
LOGO = {"logo_corner", "logo_width"}


class ChannelForm(SeenForm):
    seen_fields = (
        *("name", "slug", "playlist_id", "playlist_order", "filler_id", "time_zone"),
        *("max_rating", "on_return", "preview", "public_guide", "public_status"),
        *("test_channel", "if_black", "if_still", "if_silent", "if_late"),
    )

    def _now(self, row: Channel) -> str:
        return (
            f"“{row.name}”, playing “{row.playlist or 'nothing'}” "
            f"({row.get_playlist_order_display().lower()}), filler “{row.filler or 'none'}”, "
            f"in the time of {row.time_zone}"
        )

    time_zone = forms.ChoiceField(
        choices=sorted((name, name) for name in available_timezones()),
        widget=UnfoldAdminSelect2Widget,
        help_text="Blocks and on-air hours use this time zone. Type to search.",
    )

    class Meta:
        model = Channel
        # The admin's fieldsets select the fields.
        fields = "__all__"  # noqa: DJ007 - the admin names the fields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time_zone" in self.fields:
            self.fields["time_zone"].initial = default_time_zone()
        if "filler" in self.fields and settings.STORAGE_PROVIDER == "local":
            # There is no other disk for it, and a copy on the same disk would not help.
            self.fields["filler"].help_text = (
                "Plays when the programme can't be played. It is in the media folder, like all "
                "items: while that folder is unavailable, the slate is shown."
            )
        # On air these fields are read-only, and not in the form.
        for name in LOGO & self.fields.keys():
            # Omitted fields keep their value.
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in LOGO & cleaned.keys():
            cleaned[name] = cleaned[name] or getattr(self.instance, name)
        return cleaned


#: The secrets of an output: each with its label and the field that deletes it.
OUTPUT_SECRETS: Final = {
    "key": ("key", "forget_key"),
    "secret_query": ("secret parameters", "forget_secret_query"),
}


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    client_secret = SecretInput(
        label="Client secret",
        help_text="Google gives one with the client ID. Twitch: only confidential clients.",
    )

    class Meta:
        model = PlatformAccount
        fields = (
            *("name", "kind", "channel", "client_id", "client_secret"),
            *("may_manage_broadcasts", "may_write_titles", "daily_units"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "client_secret" in self.fields and self.instance.pk:
            stored = "Stored. Leave empty to keep it." if self.instance.client_secret else ""
            self.fields["client_secret"].widget.attrs["placeholder"] = stored

    def clean_client_secret(self) -> Secret:
        typed = str(self.cleaned_data["client_secret"]).strip()
        kept: Secret = self.instance.client_secret or Secret("")
        return Secret(typed) if typed else kept


class OutputForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    key = SecretInput(label="Stream key")
    forget_key = forms.BooleanField(
        label="Delete the key", required=False, widget=UnfoldBooleanSwitchWidget
    )
    secret_query = SecretInput(
        label="Secret parameters",
        help_text="The parameters your server expects after the “?” of its address: token=… "
        "or, "
        "for SRT, passphrase=….",
    )
    forget_secret_query = forms.BooleanField(
        label="Delete the secret parameters", required=False, widget=UnfoldBooleanSwitchWidget
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
            "second_node",
            "account",
            "watch_url",
            "title_template",
            "description_template",
            "category",
            "enabled",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, (called, forget) in OUTPUT_SECRETS.items():
            value = getattr(self.instance, name)
            stored = bool(self.instance.pk and value)
            self.fields[name].widget.attrs["placeholder"] = (
                "Stored, but it can't be decrypted. Enter it again."
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
