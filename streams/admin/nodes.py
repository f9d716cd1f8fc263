"""The list of nodes: what each carries, and the orders to it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, re_path
from django.utils import timezone
from unfold.admin import ModelAdmin

from streams.control import nodes
from streams.control.actions import ActionRefusedError
from streams.models import Channel, Node, visible
from streams.monitoring.nodes import reports
from streamsite.api.audit import ReadOnly, WithKeys
from streamsite.api.auth import Caller

#: The address of the page, as the admin names it.
LIST = "admin:streams_node_changelist"


@admin.register(Node)
class NodeAdmin(WithKeys, ReadOnly, ModelAdmin):
    list_display = ("name", "seen_at", "started_at", "ffmpeg", "hides_keys", "version", "pid")

    def get_urls(self) -> list[URLPattern]:
        verbs = "|".join(nodes.ORDERS)
        order = re_path(
            rf"^(?P<pk>\d+)/(?P<verb>{verbs})/$",
            self.admin_site.admin_view(self.order),
            name="node-order",
        )
        return [order, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Show the nodes as cards with their channels, instead of rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        mine = set(visible(Channel.objects.all(), request).values_list("slug", flat=True))
        context = {
            **self.admin_site.each_context(request),
            "title": "Nodes",
            "opts": self.opts,
            "nodes": [node.seen_by(mine) for node in reports(timezone.now())],
            "may_drain": request.user.has_perm("streams.drain_node"),
            "may_remove": request.user.has_perm("streams.delete_node"),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "streams/nodes.html", context)

    def order(self, request: HttpRequest, pk: str, verb: str) -> HttpResponseBase:
        """Ask back (GET), or give the order (POST)."""
        chosen = nodes.ORDERS[verb]
        if not request.user.has_perm(chosen.permission):
            raise PermissionDenied
        node = get_object_or_404(Node, pk=pk)
        if request.method != "POST":
            context = {
                **self.admin_site.each_context(request),
                "title": f"{chosen.label} {node.name}?",
                "node": node,
                "order": chosen,
            }
            return TemplateResponse(request, "streams/node_order.html", context)
        who = Caller(user=request.user)
        try:
            note = nodes.noted(who, node, verb)
            done = nodes.give(verb, node, by=who.name, now=timezone.now(), note=note)
        except ActionRefusedError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, done)
        return redirect(LIST)
