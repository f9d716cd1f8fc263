"""`/metrics` for Prometheus."""

from __future__ import annotations

import hmac
import ipaddress

from django.conf import settings
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from streams.monitoring import prometheus

#: Seconds for which an answer is reused: counting a library of a million items is slow.
CACHE_TTL_S = 5


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Needs METRICS_TOKEN, or an address in METRICS_ADDRESSES. 404 if neither is set."""
    if not settings.METRICS_TOKEN and not settings.METRICS_ADDRESSES:
        raise Http404
    if not (_has_token(request) or _is_from(request.META.get("REMOTE_ADDR", ""))):
        answer = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", "text/plain", 401)
        answer["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return answer
    now = timezone.now()
    body = cache.get_or_set("metrics", lambda: prometheus.text(now), CACHE_TTL_S)
    return HttpResponse(body, CONTENT_TYPE_PLAIN_0_0_4)


def _has_token(request: HttpRequest) -> bool:
    expected = settings.METRICS_TOKEN.reveal()
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), expected.encode())
    return bool(expected) and scheme.lower() == "bearer" and same


def _is_from(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip in ipaddress.ip_network(network) for network in settings.METRICS_ADDRESSES)
