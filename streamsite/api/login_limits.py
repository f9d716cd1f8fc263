"""How many wrong passwords are taken: for a name from a network, from a network, for a name.

django-axes counts; here is what it holds the counts against. A network is an IPv4 address, or
64 bits of an IPv6 one: whoever has one address of those has all of them.
"""

from __future__ import annotations

from typing import Any, Final

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import QuerySet, Sum
from django.http import HttpRequest

from streamsite.api import throttling

#: Wrong passwords from one network, whatever the names: several people may sit behind one.
NETWORK_LIMIT: Final = 20
#: Wrong passwords for one name, wherever from. More than for a network, or anybody could lock
#: an operator out alone.
ACCOUNT_LIMIT: Final = 50


def client_network(request: HttpRequest) -> str:
    """The address that counts as one visitor: an IPv4 address, or the /64 of an IPv6 one."""
    network = throttling.source(str(request.META.get("REMOTE_ADDR", "")))
    return "" if network == throttling.UNKNOWN else network.partition("/")[0]


class LimitsHandler(AxesDatabaseHandler):  # type: ignore[misc]  # the parent has no types
    """Three limits in the place of one."""

    def get_failures(
        self, request: HttpRequest, credentials: dict[str, Any] | None = None
    ) -> int:
        """Failures in the unit of AXES_FAILURE_LIMIT, by the limit that is nearest."""
        recent = AccessAttempt.objects.filter(attempt_time__gte=get_cool_off_threshold(request))
        from_here = recent.filter(ip_address=client_network(request) or None)
        name = get_client_username(request, credentials)
        for_name = recent.filter(username=name)
        limit = settings.AXES_FAILURE_LIMIT
        return max(
            _count(from_here.filter(username=name)),
            _count(from_here) * limit // NETWORK_LIMIT,
            _count(for_name) * limit // ACCOUNT_LIMIT if name else 0,
        )


def _count(attempts: QuerySet[Any]) -> int:
    return int(attempts.aggregate(count=Sum("failures_since_start"))["count"] or 0)
