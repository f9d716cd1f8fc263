"""The stream key in a form: it goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanSwitchWidget

from streams.models import Output
from streamsite.secret import Secret


class SecretInput(forms.CharField):
    """A field that shows nothing and, left empty, changes nothing."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
        super().__init__(required=False, widget=widget, **options)

    def has_changed(self, initial: object, data: object) -> bool:
        return bool(data)


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
