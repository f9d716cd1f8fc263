"""Adds to ninja's OpenAPI document: permissions, errors, streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from streamsite.api.auth import CLOSED
from streamsite.http.problems import KINDS, MEDIA_TYPE, PREFIX
from streamsite.realtime.hub import Topic

_SCHEMAS: Final = "#/components/schemas/"


class Json(BaseRenderer):
    """Pydantic writes what it has validated: json calls Python for each moment."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:  # noqa: ARG002 - ninja's signature
        return to_json(data)


class Api(NinjaAPI):
    """The document shows the permission and the errors of each route.

    And of streams, which `streamsite.realtime.endpoints` serves: those of its topics.
    """

    topics: Sequence[Topic] = ()

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        schema = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        schema["components"].setdefault("schemas", {})["Problem"] = PROBLEM
        if self.topics:
            schema["paths"] |= {topic.events: {"get": _events(topic)} for topic in self.topics}
            schema["x-websockets"] = {topic.socket: _socket(topic) for topic in self.topics}
            schema["components"]["schemas"]["Message"] = MESSAGE
        for methods in schema["paths"].values():
            for operation in methods.values():
                operation["responses"]["default"] = {
                    "description": "A problem (RFC 9457).",
                    "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}},
                }
        return schema


MESSAGE: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Message",
    "description": "snapshot: on connect; update: something has changed, all of it again; "
    "gone: it is no more, and nothing follows; alive: nothing is new, on WebSockets alone.",
    "required": ["type"],
    "properties": {
        "type": {"enum": ["snapshot", "update", "gone", "alive"]},
        "topic": {"type": "string"},
        "key": {"type": "string", "description": "The channel's slug, the job's id."},
        "at": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
}


def _events(topic: Topic) -> dict[str, Any]:
    return {
        "operationId": f"events_of_{topic.name}",
        "summary": "As it changes, as server-sent events",
        "description": f"Each event's data is a Message. Its `data`: {topic.data}",
        "tags": ["as it changes"],
        "parameters": _of_path(topic),
        "responses": {
            "200": {
                "description": "It goes on until you leave, or it is gone.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
        "security": [{auth.__class__.__name__: []} for auth in CLOSED],
        "x-permissions": topic.rule.key_permission.value,
        "x-staff-permission": topic.rule.staff_permission,
        "x-message": {"$ref": f"{_SCHEMAS}Message"},
    }


def _socket(topic: Topic) -> dict[str, Any]:
    return {
        "description": f"The same as {topic.events}.",
        "parameters": _of_path(topic),
        "x-permissions": topic.rule.key_permission.value,
        "x-message": {"$ref": f"{_SCHEMAS}Message"},
    }


def _of_path(topic: Topic) -> list[dict[str, Any]]:
    place = {"in": "path", "name": topic.parameter, "required": True}
    return [place | {"schema": {"type": "string", "maxLength": 128}}]


PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"enum": ["about:blank", *(PREFIX + kind for kind in KINDS)]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "retry_after": {"type": "integer", "description": "Seconds."},
        "permanent": {"type": "boolean", "description": "Another try can't succeed."},
        "errors": {
            "description": "For `invalid`: the field and the reason.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        },
        "findings": {
            "description": "For `cant-start`: the failing checks.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["check", "detail"],
                "properties": {"check": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
