"""Forms of what people set up: a logo is uploaded, a stream key goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldBooleanSwitchWidget,
)

from media_library import logos
from media_library.storage import StorageError
from streams.models import Channel, Output
from streamsite.secret import Secret


class SecretInput(forms.CharField):
    """A field that shows nothing and, left empty, changes nothing."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
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
        self.digest, self.fault = "", ""
        try:
            # Kept under its content: nothing is overwritten, whatever becomes of the form.
            self.digest = logos.keep(uploaded.read(logos.MOST_BYTES + 1))
        except (logos.LogoError, StorageError) as error:
            self.fault = str(error)


#: Where a logo stands.
LOGO = {"logo_corner", "logo_width"}


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    logo_file = forms.FileField(
        label="Logo",
        required=False,
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": "image/png"}),
        help_text="A PNG of 2 MB and 4096 pixels at most. It is burnt into every item: all are "
        "prepared again.",
    )
    remove_logo = forms.BooleanField(
        label="Remove the logo", required=False, widget=UnfoldBooleanSwitchWidget
    )

    class Meta:
        model = Channel
        # The admin's fieldsets choose among them.
        fields = "__all__"  # noqa: DJ007

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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


class OutputForm(forms.ModelForm):  # type: ignore[type-arg]
    key = SecretInput(label="Stream key")
    forget_key = forms.BooleanField(
        label="Forget the key", required=False, widget=UnfoldBooleanSwitchWidget
    )

    class Meta:
        model = Output
        fields = ("name", "platform", "url", "key", "forget_key", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = bool(self.instance.pk and self.instance.key)
        self.fields["key"].widget.attrs["placeholder"] = (
            "Stored. Leave empty to keep it." if stored else "No key is stored."
        )
        if not stored:
            self.fields["forget_key"].disabled = True

    def clean_key(self) -> Secret:
        typed = str(self.cleaned_data["key"]).strip()
        if typed:
            return Secret(typed)
        kept: Secret = self.instance.key or Secret("")
        return kept

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("forget_key") and not self.data.get(self.add_prefix("key")):
            cleaned["key"] = Secret("")
        return cleaned
