"""The project's models, where Django looks for them."""

from streamsite.api.models import ApiKey, KeyChange, Tally
from streamsite.webhooks.models import Delivery, Endpoint

__all__ = ["ApiKey", "Delivery", "Endpoint", "KeyChange", "Tally"]
