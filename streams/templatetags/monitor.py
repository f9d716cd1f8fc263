"""Template tags for the report and measured values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from media_library.conform.sample_clips import being_made
from streams.control.commands import ORDERS, Order
from streams.control.on_air_schedule import Outlook, outlook, outlooks
from streams.ingest import takeover_rights
from streams.ingest.report import live
from streams.models import Channel, Output, PlatformReport
from streams.monitoring import formatting
from streams.monitoring.failing_jobs import failing
from streams.monitoring.preflight import MAKING_SAMPLES, Finding, findings, standing
from streams.monitoring.report import PREFLIGHT_RETRY, ChannelReport, report
from streams.monitoring.room import drawn
from streams.monitoring.uptime import timeline
from streamsite.accounts.limits import own_channels

register = template.Library()

register.filter("bitrate", formatting.bitrate)
register.filter("label", formatting.label)
register.filter("percent", timeline.percent)
register.filter("size", formatting.size)
register.filter("span", formatting.span)


@register.filter
def of_key(values: object, key: object) -> Any:
    """Returns the value of that key; None if there is none."""
    return values.get(key) if isinstance(values, Mapping) else None


@register.filter
def unix(moment: object) -> int | str:
    """Returns whole seconds since 1970."""
    return int(moment.timestamp()) if isinstance(moment, datetime) else ""


@register.simple_tag(takes_context=True)
def room(context: dict[str, Any]) -> dict[str, Any]:
    """Returns the strips and curves of the channels that the visitor may see."""
    return drawn(own_channels(context["request"]))


@register.filter
def until(since: object, moment: object) -> str:
    # A missing template variable arrives as an empty string.
    if isinstance(since, datetime) and isinstance(moment, datetime):
        return formatting.duration(since, moment)
    return formatting.NOTHING


@register.filter
def iso(moment: object) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else ""


@register.filter
def when(moment: datetime | None, form: str = "") -> SafeString | str:
    """Formats a moment as a `<time>` with seconds; `date` adds the day."""
    if moment is None:
        return formatting.NOTHING
    local = timezone.localtime(moment)
    shown = local.strftime("%d %b %H:%M:%S" if form == "date" else "%H:%M:%S")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{local:%F %T %Z}",
        shown,
    )


#: The state whose colour and shape a level of a platform has.
_LEVEL_STATES: Final = {
    "healthy": "on_air",
    "degraded": "degraded",
    "down": "failing",
    "unknown": "unknown",
}


@register.simple_tag
def platform_of(output: Output) -> dict[str, Any]:
    """Returns what the platform says about an output, for its page."""
    now = timezone.now()
    row = PlatformReport.objects.filter(pk=output.pk).first()
    level = row.level_at(now) if row else "unknown"
    valid = row is not None and row.is_valid(now)
    youtube = output.account is not None and output.account.kind == "youtube"
    link = f"https://www.youtube.com/watch?v={row.broadcast_id}" if row and youtube else ""
    return {
        "state": _LEVEL_STATES[level],
        "label": formatting.label(level),
        "sentence": row.sentence_at(now) if row else "The platform was not asked yet.",
        "checked_at": row.checked_at if row else None,
        "link": link if row and row.broadcast_id else "",
        **(row.details if row and valid else {}),
    }


@register.simple_tag(name="outlooks")
def all_outlooks() -> dict[str, Outlook]:
    """Returns the outlook of the on-air hours of each channel, by slug."""
    return outlooks(timezone.now())


@register.filter
def outlook_of(by_slug: dict[str, Outlook], slug: str) -> str:
    return by_slug[slug].sentence if slug in by_slug else ""


@register.simple_tag
def progress_notice() -> str:
    """Returns the notice of work that belongs to no single channel; empty if there is none."""
    return MAKING_SAMPLES if being_made() else ""


@register.simple_tag
def failing_jobs() -> list[str]:
    """Returns a sentence for each kind of job that fails."""
    return [kind.sentence for kind in failing(timezone.now())]


@register.simple_tag(takes_context=True)
def reports(context: dict[str, Any]) -> tuple[ChannelReport, ...]:
    """Returns the report of every channel that the visitor may see."""
    return report(timezone.now(), among=own_channels(context["request"])).channels


@register.simple_tag
def report_of(channel: Channel) -> ChannelReport | None:
    return next(iter(report(timezone.now(), slug=channel.slug).channels), None)


@register.simple_tag
def findings_of(channel: Channel) -> list[Finding]:
    return findings(channel)


@register.simple_tag
def standing_of(channel: Channel) -> list[Finding]:
    return standing(channel)


@register.inclusion_tag("streams/checks.html")
def checks_of(channel: Channel) -> dict[str, Any]:
    """The last preflight, with the faults that prevent the start first, and the next hours."""
    now = timezone.now()
    channel = Channel.objects.select_related("state").get(pk=channel.pk)
    state = getattr(channel, "state", None)
    run = None
    if channel.desired_state == Channel.DesiredState.ON:
        run = channel.runs.filter(ended_at=None).exclude(checked_at=None).first()
    checks = run.checks if run else []
    # On air, the checks are shown as of their time.
    plays = bool(run and state and state.plays(now))
    again = any(not check["ok"] for check in checks) and not plays
    at = run.checked_at if run else None
    return {
        "checks": sorted(checks, key=lambda check: (check["ok"], not check["stops"])),
        "checked_at": at,
        "again": at + PREFLIGHT_RETRY if again and at else None,
        "plays": plays,
        "before": bool(plays and state and at and state.on_air_since >= at),
        "hours": outlook(channel, now),
    }


@register.inclusion_tag("streams/takeover.html", takes_context=True)
def takeover_of(context: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """The takeover rights, the live broadcasters among them, and the last takeovers."""
    now = timezone.now()
    rights = list(channel.takeover_rights.select_related("broadcaster"))
    streams = {row.broadcaster_id: row for row in live()}
    order = takeover_rights.in_force(channel, [right.broadcaster_id for right in rights], now)
    last = channel.takeovers.select_related("broadcaster")[:TAKEOVERS]
    return {
        "channel": channel,
        "report": context.get("report"),
        "may": context["request"].user.has_perm("streams.operate_channel"),
        "rights": [(right, streams.get(right.broadcaster_id)) for right in rights],
        "anybody": any(right.broadcaster_id in streams for right in rights),
        "running": channel.desired_state == Channel.DesiredState.ON,
        "by_hand": order is not Channel.Live.AUTO,
        "order": order,
        "last": last,
        "orders": ORDERS,
        "form": "sx-order-form",
    }


@register.simple_tag
def current_time() -> datetime:
    return timezone.now()


#: Takeovers on the channel's page; the admin's list shows the rest.
TAKEOVERS: Final = 6
#: The order of the buttons: the most disruptive one is last.
_BUTTONS: Final = ("start", "skip", "restart", "stop")


@register.inclusion_tag("streams/orders.html", takes_context=True)
def order_buttons(
    context: dict[str, Any], channel_report: ChannelReport, form: str, *, quiet: bool = False
) -> dict[str, Any]:
    """A channel's buttons. They belong to the form with that id, anywhere on the page."""
    may = context["request"].user.has_perm("streams.operate_channel")
    by_slug = context.get("outlooks")
    if by_slug is None:
        by_slug = outlooks(timezone.now(), slug=channel_report.slug)
    return buttons(
        channel_report, form, may=may, quiet=quiet, outlook=by_slug.get(channel_report.slug)
    )


def buttons(
    channel_report: ChannelReport, form: str, *, may: bool, quiet: bool, outlook: Outlook | None
) -> dict[str, Any]:
    """Returns the context of `streams/orders.html`."""
    orders = [ORDERS[verb].with_hours(outlook) for verb in _BUTTONS]
    return {
        "report": channel_report,
        "form": form,
        "quiet": quiet,
        "may": may,
        "buttons": [(order, _hidden(order, channel_report)) for order in orders],
    }


def _hidden(order: Order, channel_report: ChannelReport) -> bool:
    return channel_report.ordered_on == (order.verb == "start")
