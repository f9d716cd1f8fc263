"""The project's models, where Django looks for them."""

from streamsite.accounts.models import AuditEntry, ChannelLimit, Passkey, UserSession
from streamsite.api.models import ApiKey, KeyChange, Tally
from streamsite.webhooks.models import Delivery, Endpoint

__all__ = [
    "ApiKey",
    "AuditEntry",
    "ChannelLimit",
    "Delivery",
    "Endpoint",
    "KeyChange",
    "Passkey",
    "Tally",
    "UserSession",
]
