"""The project's part of the admin, where Django looks for it."""

from streamsite.api.admin import ApiKeyAdmin, KeyChangeAdmin
from streamsite.site.audit_admin import AuditEntryAdmin
from streamsite.site.queue_admin import QueueAdmin, ScheduleAdmin, TaskAdmin
from streamsite.webhooks.admin import DeliveryAdmin, EndpointAdmin

__all__ = [
    "ApiKeyAdmin",
    "AuditEntryAdmin",
    "DeliveryAdmin",
    "EndpointAdmin",
    "KeyChangeAdmin",
    "QueueAdmin",
    "ScheduleAdmin",
    "TaskAdmin",
]
