"""Fields and models get the names that operators and the API use."""

from __future__ import annotations

from typing import Any

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import streams.models.channel
import streamsite.security.fields

_OLD, _NEW = ("forewarning", "forewarning"), ("upcomingproblem", "upcoming problem")


def _rename_permissions(
    apps: StateApps,
    schema_editor: BaseDatabaseSchemaEditor,
    old: tuple[str, str],
    new: tuple[str, str],
) -> None:
    """Users and groups keep their permissions on the renamed model."""
    permissions: Any = apps.get_model("auth", "Permission")._default_manager  # noqa: SLF001
    rows = permissions.using(schema_editor.connection.alias)
    for row in rows.filter(content_type__app_label="streams", codename__endswith=f"_{old[0]}"):
        codename = row.codename.replace(old[0], new[0])
        name = row.name.replace(old[1], new[1])
        rows.filter(pk=row.pk).update(codename=codename, name=name)


def rename_permissions(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _rename_permissions(apps, schema_editor, _OLD, _NEW)


def restore_permissions(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _rename_permissions(apps, schema_editor, _NEW, _OLD)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("streams", "0012_output_secrets"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="channel", name="channel_order_is_on_or_off"),
        migrations.RenameField("channel", "order", "desired_state"),
        migrations.AddConstraint(
            model_name="channel",
            constraint=models.CheckConstraint(
                condition=models.Q(("desired_state__in", ["on", "off"])),
                name="channel_desired_state_is_on_or_off",
            ),
        ),
        migrations.RemoveIndex(model_name="takeover", name="streams_tak_channel_3fb876_idx"),
        migrations.AlterModelOptions(name="takeover", options={}),
        migrations.RenameField("takeover", "asked_at", "requested_at"),
        migrations.AlterModelOptions(
            name="takeover", options={"ordering": ["-requested_at", "-pk"]}
        ),
        migrations.AddIndex(
            model_name="takeover",
            index=models.Index(
                fields=["channel", "-requested_at"], name="streams_tak_channel_581a60_idx"
            ),
        ),
        migrations.RemoveConstraint(
            model_name="forewarning", name="one_open_forewarning_per_item_and_channel"
        ),
        migrations.RemoveConstraint(
            model_name="forewarning", name="one_open_forewarning_per_subject"
        ),
        migrations.RenameModel("Forewarning", "UpcomingProblem"),
        migrations.RunPython(rename_permissions, restore_permissions),
        migrations.RenameField("upcomingproblem", "found_at", "detected_at"),
        migrations.RenameField("upcomingproblem", "told_at", "notified_at"),
        migrations.AddConstraint(
            model_name="upcomingproblem",
            constraint=models.UniqueConstraint(
                condition=models.Q(("cleared_at__isnull", True)),
                fields=("channel", "item"),
                name="one_open_problem_per_item_and_channel",
            ),
        ),
        migrations.AddConstraint(
            model_name="upcomingproblem",
            constraint=models.UniqueConstraint(
                condition=models.Q(("cleared_at__isnull", True)),
                fields=("channel", "subject"),
                name="one_open_problem_per_subject",
            ),
        ),
        # Help texts and labels only: the database does not change.
        migrations.AlterModelOptions(
            name="takeoverright",
            options={
                "ordering": ["channel", "rank", "pk"],
                "verbose_name": "takeover right",
                "verbose_name_plural": "takeover rights",
            },
        ),
        migrations.AlterField(
            model_name="asrun",
            name="in_point",
            field=models.FloatField(
                default=0, help_text="Seconds into the item at which it started."
            ),
        ),
        migrations.AlterField(
            model_name="block",
            name="days",
            field=models.PositiveSmallIntegerField(
                default=127,
                help_text="Sum of the weekdays: Monday is 1, Tuesday 2, Wednesday 4 ... Sunday 64.",
            ),
        ),
        migrations.AlterField(
            model_name="block",
            name="ends",
            field=models.TimeField(
                help_text="An end that is not after the start is on the next day.",
                verbose_name="to",
            ),
        ),
        migrations.AlterField(
            model_name="block",
            name="fit",
            field=models.BooleanField(
                default=False,
                help_text="The block ends on time. Items that no longer fit are replaced by filler.",
                verbose_name="exact fit",
            ),
        ),
        migrations.AlterField(
            model_name="block",
            name="max_rating",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Years. Items with a higher rating and items without a rating are not played.",
                null=True,
                verbose_name="maximum age rating",
            ),
        ),
        migrations.AlterField(
            model_name="block",
            name="priority",
            field=models.SmallIntegerField(
                default=0,
                help_text="If blocks overlap, the highest priority wins; of equal ones, the last to start.",
            ),
        ),
        migrations.AlterField(
            model_name="broadcaster",
            name="enabled",
            field=models.BooleanField(
                default=True,
                help_text="If it is off, all keys are refused and live streams are disconnected within seconds.",
            ),
        ),
        migrations.AlterField(
            model_name="broadcaster",
            name="slug",
            field=models.CharField(
                help_text="They publish to live/<path>. It is visible in playback addresses.",
                max_length=64,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[A-Za-z0-9_-]{1,64}\\Z", "Use letters, digits, - and _ only."
                    )
                ],
                verbose_name="path",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="filler",
            field=models.ForeignKey(
                blank=True,
                help_text="Plays when the programme can't be played. It is stored on this machine's disk.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="filled_channels",
                to="media_library.playlist",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="hours_changed_at",
            field=models.DateTimeField(
                editable=False,
                help_text="The on-air hours take effect from this time on.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="live_broadcaster",
            field=models.ForeignKey(
                editable=False,
                help_text="The broadcaster whom an operator took.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="streams.broadcaster",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="live_debounce",
            field=models.PositiveSmallIntegerField(
                default=2,
                help_text="Seconds for which a live feed must arrive before it takes over. If there is no picture two seconds later, viewers see a slate that announces it.",
                validators=[django.core.validators.MaxValueValidator(30)],
                verbose_name="takes over after",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="live_hold",
            field=models.PositiveSmallIntegerField(
                default=20,
                help_text="Seconds for which a slate is shown. Then the programme continues.",
                validators=[django.core.validators.MaxValueValidator(600)],
                verbose_name="waits for a lost feed",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="live_order",
            field=models.CharField(
                choices=[
                    ("auto", "Automatic"),
                    ("take", "Taken by an operator"),
                    ("return", "Returned by an operator"),
                ],
                default="auto",
                editable=False,
                max_length=6,
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="logo",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="Hash of the image. It is stored as logos/<hash>.png.",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="logo_width",
            field=models.PositiveSmallIntegerField(
                default=12,
                help_text="Percent of the video's width.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(50),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="max_rating",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Years, for the whole channel. Items with a higher rating and items without a rating are not played.",
                null=True,
                verbose_name="maximum age rating",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="on_return",
            field=models.CharField(
                choices=[
                    ("continue", "Continue the item where it was cut"),
                    ("wall_clock", "Continue where the playlist would be by now"),
                    ("restart", "Play the item again from its start"),
                    ("next", "Continue with the next item"),
                ],
                default="continue",
                help_text="Applies when a block, a failure or a stop has cut an item.",
                max_length=10,
                verbose_name="after an interruption",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="preview",
            field=models.BooleanField(
                default=True, help_text="Show the video in the admin. It counts as an output."
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="public_guide",
            field=models.BooleanField(
                default=False,
                help_text="The guide for players (XMLTV) and the now-and-next data for overlays are readable without a login.",
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="switched_at",
            field=models.DateTimeField(
                editable=False,
                help_text="Time of the last start or stop order. Restarts do not count.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="channel",
            name="time_zone",
            field=models.CharField(
                default=streams.models.channel.default_time_zone,
                help_text="Blocks and on-air hours use this time zone, for example Europe/Berlin.",
                max_length=64,
                validators=[streams.models.channel.validate_time_zone],
            ),
        ),
        migrations.AlterField(
            model_name="channelstate",
            name="cause",
            field=models.TextField(blank=True, help_text="Why the state is not On air."),
        ),
        migrations.AlterField(
            model_name="channelstate",
            name="checks",
            field=models.JSONField(default=list, help_text="Results of the last preflight."),
        ),
        migrations.AlterField(
            model_name="channelstate",
            name="cursors",
            field=models.JSONField(
                default=dict,
                help_text="Position in each playlist (streams.programme.cursor_codec).",
            ),
        ),
        migrations.AlterField(
            model_name="channelstate",
            name="epoch",
            field=models.PositiveBigIntegerField(
                default=0, help_text="Increases with every claim."
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="subject",
            field=models.CharField(
                help_text="The part affected, such as output-7 or programme.", max_length=80
            ),
        ),
        migrations.AlterField(
            model_name="ingestserver",
            name="fault",
            field=models.TextField(
                blank=True, help_text="Why it can't be polled. Empty: it answers."
            ),
        ),
        migrations.AlterField(
            model_name="ingestserver",
            name="owner",
            field=models.CharField(
                blank=True, help_text="The node that polls it.", max_length=128
            ),
        ),
        migrations.AlterField(
            model_name="livestream",
            name="grown_at",
            field=models.DateTimeField(help_text="The last time bytes arrived.", null=True),
        ),
        migrations.AlterField(
            model_name="livestream",
            name="seen_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, help_text="The last time it was seen live."
            ),
        ),
        migrations.AlterField(
            model_name="livestream",
            name="started_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, verbose_name="started"
            ),
        ),
        migrations.AlterField(
            model_name="livestream",
            name="unknown",
            field=models.BooleanField(
                default=False,
                help_text="The ingest server can't be reached, so the stream may have ended.",
            ),
        ),
        migrations.AlterField(
            model_name="node",
            name="ffmpeg",
            field=models.CharField(
                blank=True, help_text="Version. Empty: FFmpeg is missing.", max_length=120
            ),
        ),
        migrations.AlterField(
            model_name="node",
            name="hides_keys",
            field=models.BooleanField(
                help_text="Whether this FFmpeg accepts stream keys without showing them to other users.",
                null=True,
                verbose_name="FFmpeg hides keys",
            ),
        ),
        migrations.AlterField(
            model_name="onairhours",
            name="days",
            field=models.PositiveSmallIntegerField(
                default=127,
                help_text="Sum of the weekdays: Monday is 1, Tuesday 2, Wednesday 4 ... Sunday 64.",
            ),
        ),
        migrations.AlterField(
            model_name="onairhours",
            name="ends",
            field=models.TimeField(
                help_text="An end that is not after the start is on the next day.",
                verbose_name="to",
            ),
        ),
        migrations.AlterField(
            model_name="output",
            name="roll_over_hours",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Hours. The session changes at the end of an item. Empty: the platform's default.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(576),
                ],
                verbose_name="new session every",
            ),
        ),
        migrations.AlterField(
            model_name="output",
            name="secret_query",
            field=streamsite.security.fields.SecretField(
                blank=True,
                default="",
                help_text="The parameters your server expects after the “?” of its address, such as token=… or, for SRT, passphrase=….",
                verbose_name="secret parameters",
            ),
        ),
        migrations.AlterField(
            model_name="output",
            name="url",
            field=models.CharField(
                blank=True,
                help_text="If empty, the platform's own address is used. It is shown to everybody, so it must not contain a key, password or token.",
                max_length=500,
                verbose_name="address",
            ),
        ),
        migrations.AlterField(
            model_name="output",
            name="verify_certificate",
            field=models.BooleanField(
                default=True,
                help_text="For rtmps:// addresses. If it is off, anyone on the network path between this machine and the server can read the stream key.",
                verbose_name="verify the certificate",
            ),
        ),
        migrations.AlterField(
            model_name="outputstate",
            name="failures",
            field=models.PositiveIntegerField(default=0, help_text="Consecutive failures."),
        ),
        migrations.AlterField(
            model_name="outputstate",
            name="session_since",
            field=models.DateTimeField(help_text="Start of the current session.", null=True),
        ),
        migrations.AlterField(
            model_name="run",
            name="on_air_at",
            field=models.DateTimeField(
                help_text="The first time it was measured on air.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="sample",
            name="cpu_percent",
            field=models.FloatField(help_text="Percent of one core.", null=True),
        ),
        migrations.AlterField(
            model_name="sample",
            name="lag_seconds",
            field=models.FloatField(help_text="Seconds behind the wall clock.", null=True),
        ),
        migrations.AlterField(
            model_name="streamkey",
            name="expires_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Empty: never. A stream that is live at that time continues.",
                null=True,
                verbose_name="expires",
            ),
        ),
        migrations.AlterField(
            model_name="streamkey",
            name="label",
            field=models.CharField(
                blank=True, help_text="For example: OBS at home.", max_length=80
            ),
        ),
        migrations.AlterField(
            model_name="streamkey",
            name="lease_seen_at",
            field=models.DateTimeField(
                editable=False,
                help_text="Empty or older than 15 seconds: the key is free.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="streamkey",
            name="prefix",
            field=models.CharField(
                editable=False, help_text="The first characters of the key.", max_length=8
            ),
        ),
        migrations.AlterField(
            model_name="streamkey",
            name="single_use",
            field=models.BooleanField(
                default=False,
                help_text="The key is accepted once, and again within 60 seconds from the same address.",
                verbose_name="for one use",
            ),
        ),
        migrations.AlterField(
            model_name="streamkey",
            name="source_id",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="The ingest server's id of the connection.",
                max_length=64,
            ),
        ),
        migrations.AlterField(
            model_name="takeover",
            name="requested_at",
            field=models.DateTimeField(
                help_text="The broadcaster went live, or an operator took them.",
                verbose_name="requested",
            ),
        ),
        migrations.AlterField(
            model_name="takeoverright",
            name="rank",
            field=models.PositiveSmallIntegerField(
                default=1,
                help_text="If several broadcasters are live, the lowest rank wins.",
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AlterField(
            model_name="upcomingproblem",
            name="airs_at",
            field=models.DateTimeField(help_text="The first time it affects what is on air."),
        ),
        migrations.AlterField(
            model_name="upcomingproblem",
            name="channel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="upcoming_problems",
                to="streams.channel",
            ),
        ),
        migrations.AlterField(
            model_name="upcomingproblem",
            name="notified_at",
            field=models.DateTimeField(
                help_text="The time at which a notification was sent.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="upcomingproblem",
            name="sentence",
            field=models.TextField(help_text="The problem, and the action to take."),
        ),
        migrations.AlterField(
            model_name="upcomingproblem",
            name="soft",
            field=models.BooleanField(
                default=False, help_text="The item will be on air, but not as intended."
            ),
        ),
        migrations.AlterField(
            model_name="upcomingproblem",
            name="subject",
            field=models.CharField(
                help_text="The cause and item, such as missing-7 or filler.", max_length=80
            ),
        ),
    ]
