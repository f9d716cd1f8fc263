"""The preflight becomes a state of the run."""

from __future__ import annotations

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def move(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Open runs keep their results."""
    alias = schema_editor.connection.alias
    states = apps.get_model("streams", "ChannelState").objects.using(alias)
    runs = apps.get_model("streams", "Run").objects.using(alias)
    for state in states.exclude(checked_at=None):
        runs.filter(channel=state.channel_id, ended_at=None).update(
            checks=state.checks, checked_at=state.checked_at, checked_on=state.owner
        )


class Migration(migrations.Migration):
    dependencies = [("streams", "0013_field_names")]

    operations = [
        migrations.AddField(
            "run",
            "checks",
            models.JSONField(default=list, help_text="Results of its preflight."),
        ),
        migrations.AddField("run", "checked_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "run",
            "checked_on",
            models.CharField(
                blank=True, help_text="The node that was checked.", max_length=128
            ),
        ),
        migrations.RunPython(move, migrations.RunPython.noop),
        migrations.RemoveField("channelstate", "checks"),
        migrations.RemoveField("channelstate", "checked_at"),
    ]
