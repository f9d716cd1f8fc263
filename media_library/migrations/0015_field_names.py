"""Renames fields, and the status "braked" of a sync; no row is lost."""

import django.utils.timezone
import streamsite.security.fields
from django.db import migrations, models


def _rename_status(old, new):
    def run(apps, schema_editor):
        runs = apps.get_model("media_library", "SyncRun").objects
        runs.using(schema_editor.connection.alias).filter(status=old).update(status=new)

    return run


class Migration(migrations.Migration):

    dependencies = [
        ('media_library', '0014_item_trimmed'),
    ]

    # Indexes and constraints that name a field are removed before and added again after.
    operations = [
        migrations.RemoveIndex('downloadjob', 'download_running'),
        migrations.RemoveIndex('preparedcopy', 'copy_running'),
        migrations.RemoveConstraint('downloadjob', 'one_download_per_order'),
        migrations.RemoveConstraint('preparedcopy', 'one_copy_per_item_and_house'),
        migrations.RemoveConstraint('syncrun', 'sync_fault_is_in_words'),
        migrations.RenameField('downloadjob', 'asked_by', 'requested_by'),
        migrations.RenameField('downloadjob', 'asked_key', 'requested_key'),
        migrations.RenameField('downloadjob', 'cancel_asked', 'cancel_requested'),
        migrations.RenameField('downloadjob', 'heard_at', 'heartbeat_at'),
        migrations.RenameField('downloadschedule', 'looked_at', 'checked_at'),
        migrations.RenameField('downloadschedule', 'found', 'ordered'),
        migrations.RenameField('preparedcopy', 'house', 'house_format'),
        migrations.RenameField('preparedcopy', 'heard_at', 'heartbeat_at'),
        migrations.RenameField('syncrun', 'heard_at', 'heartbeat_at'),
        migrations.RenameField('syncrun', 'known', 'items_before'),
        migrations.RunPython(_rename_status('braked', 'stopped'), _rename_status('stopped', 'braked')),
        migrations.AddIndex(
            'downloadjob',
            models.Index(condition=models.Q(('claim', ''), _negated=True), fields=['heartbeat_at'], name='download_running'),
        ),
        migrations.AddIndex(
            'preparedcopy',
            models.Index(condition=models.Q(('status', 'running')), fields=['heartbeat_at'], name='copy_running'),
        ),
        migrations.AddConstraint(
            'downloadjob',
            models.UniqueConstraint(condition=models.Q(('requested_key', ''), _negated=True), fields=('owner', 'requested_key'), name='one_download_per_order'),
        ),
        migrations.AddConstraint(
            'preparedcopy',
            models.UniqueConstraint(fields=('item', 'house_format'), name='one_copy_per_item_and_house'),
        ),
        migrations.AddConstraint(
            'syncrun',
            models.CheckConstraint(condition=models.Q(models.Q(('status__in', ['failed', 'stopped']), _negated=True), models.Q(('fault', ''), _negated=True), _connector='OR'), name='sync_fault_is_in_words'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='again',
            field=models.BooleanField(default=False, help_text='Even if the library has the same video.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='any_site',
            field=models.BooleanField(default=False, help_text='Sites that yt-dlp does not know are allowed.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='code',
            field=models.CharField(blank=True, help_text='Code of the error.', max_length=16),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='deaths',
            field=models.PositiveSmallIntegerField(default=0, editable=False, help_text='Workers that died at it.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='due_at',
            field=models.DateTimeField(default=django.utils.timezone.now, help_text='Earliest time of the next try.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='duplicate',
            field=models.BooleanField(default=False, help_text='The library had it already: nothing was downloaded.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='fault',
            field=models.TextField(blank=True, help_text='The error, and what to do.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='got',
            field=models.CharField(blank=True, help_text='The downloaded formats.', max_length=500),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='key',
            field=models.CharField(blank=True, help_text='Its key in the storage.', max_length=1024),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='note',
            field=models.CharField(blank=True, help_text='Its current step, or what it waits for.', max_length=255),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='owner',
            field=models.CharField(blank=True, help_text='Owner of the quota, such as user:1.', max_length=64),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='profile',
            field=models.CharField(help_text='Digest of its options.', max_length=16),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='requested_key',
            field=models.CharField(blank=True, help_text="The caller's own key for this order.", max_length=128),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='reserved_bytes',
            field=models.PositiveBigIntegerField(default=0, help_text='Bytes of disk and quota that are reserved for it.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='rights',
            field=models.TextField(blank=True, help_text='Permission of the rights holder, and its end.'),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='session',
            field=models.PositiveIntegerField(blank=True, editable=False, help_text="Session of the job's processes.", null=True),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='speed',
            field=models.PositiveBigIntegerField(blank=True, help_text='Bytes per second.', null=True),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='status',
            field=models.CharField(choices=[('queued', 'Queued'), ('extracting', 'Reading the page'), ('downloading', 'Downloading'), ('processing', 'Processing'), ('storing', 'Storing'), ('done', 'Done'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=12),
        ),
        migrations.AlterField(
            model_name='downloadjob',
            name='worker',
            field=models.CharField(blank=True, editable=False, help_text='Node, pid and start time.', max_length=255),
        ),
        migrations.AlterField(
            model_name='downloadschedule',
            name='cap',
            field=models.PositiveSmallIntegerField(default=10, help_text='Number of newest videos to check.'),
        ),
        migrations.AlterField(
            model_name='downloadschedule',
            name='every_hours',
            field=models.PositiveSmallIntegerField(default=24, help_text='0: once. Each time only new videos are downloaded.'),
        ),
        migrations.AlterField(
            model_name='downloadschedule',
            name='rights',
            field=models.TextField(blank=True, help_text='Permission of the rights holder, and its end.'),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='age_rating',
            field=models.PositiveSmallIntegerField(blank=True, choices=[(0, 'All ages'), (6, '6 and older'), (12, '12 and older'), (16, '16 and older'), (18, '18 and older')], help_text='Empty: unrated.', null=True),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='channels',
            field=models.PositiveSmallIntegerField(blank=True, help_text='Audio channels; empty: unknown.', null=True),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='colour',
            field=models.CharField(blank=True, help_text='Transfer curve; HDR: smpte2084, arib-std-b67.', max_length=32),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='fault',
            field=models.TextField(blank=True, help_text='The fault, and what to do.'),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='fingerprint',
            field=models.CharField(blank=True, editable=False, help_text='Fingerprint of the content at the last inspection, whatever its etag.', max_length=64),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='fingerprint_etag',
            field=models.CharField(blank=True, editable=False, help_text='Etag at that time.', max_length=128),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='index',
            field=models.CharField(blank=True, choices=[('front', 'At the front'), ('end', 'At the end')], help_text='Position of the moov box of an MP4.', max_length=8),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='keyframe_seconds',
            field=models.FloatField(blank=True, help_text='Longest distance between two keyframes.', null=True),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='loudness_lufs',
            field=models.FloatField(blank=True, help_text='Estimated from parts of it, in LUFS (EBU R128).', null=True),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='misses',
            field=models.PositiveSmallIntegerField(default=0, editable=False, help_text='Consecutive complete listings without it.'),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='missing_since',
            field=models.DateTimeField(blank=True, editable=False, help_text='Since the second listing without it.', null=True),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='probe_claimed_at',
            field=models.DateTimeField(blank=True, editable=False, help_text="Time of a worker's claim.", null=True),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='reorder',
            field=models.PositiveSmallIntegerField(default=0, help_text='Frames that are decoded before they are displayed (B-frames).'),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='rights',
            field=models.TextField(blank=True, help_text='Permission of the rights holder, and its end.'),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='source',
            field=models.CharField(blank=True, help_text='Origin of the file.', max_length=500),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='titled',
            field=models.BooleanField(default=True, editable=False, help_text='Its title contains more than its key.'),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='trimmed',
            field=models.BooleanField(default=False, help_text='Parts of it are not displayed: it was trimmed without re-encoding.'),
        ),
        migrations.AlterField(
            model_name='mediaitem',
            name='turned',
            field=models.BooleanField(default=False, help_text='Filmed upright: it has to be rotated for display.'),
        ),
        migrations.AlterField(
            model_name='playlist',
            name='version',
            field=models.PositiveIntegerField(default=0, editable=False, help_text='Counts the changes of its order, so that concurrent changes are detected.'),
        ),
        migrations.AlterField(
            model_name='preparedcopy',
            name='claim',
            field=models.CharField(blank=True, editable=False, help_text='Claim of the worker that makes it.', max_length=32),
        ),
        migrations.AlterField(
            model_name='preparedcopy',
            name='deaths',
            field=models.PositiveSmallIntegerField(default=0, editable=False, help_text='Workers that died at it.'),
        ),
        migrations.AlterField(
            model_name='preparedcopy',
            name='due_at',
            field=models.DateTimeField(blank=True, help_text='Next time on air.', null=True),
        ),
        migrations.AlterField(
            model_name='preparedcopy',
            name='heartbeat_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='Last heartbeat of that worker.', null=True),
        ),
        migrations.AlterField(
            model_name='preparedcopy',
            name='key',
            field=models.CharField(blank=True, help_text='Its key in the storage.', max_length=1024),
        ),
        migrations.AlterField(
            model_name='preparedcopy',
            name='loudness_lufs',
            field=models.FloatField(blank=True, help_text='Loudness of the finished copy, in LUFS (EBU R128).', null=True),
        ),
        migrations.AlterField(
            model_name='preparedcopy',
            name='stage',
            field=models.CharField(blank=True, help_text='Current stage: fetching, measuring, encoding, ...', max_length=16),
        ),
        migrations.AlterField(
            model_name='sitecookies',
            name='domain',
            field=models.CharField(help_text='Such as youtube.com; includes its subdomains.', max_length=253, unique=True),
        ),
        migrations.AlterField(
            model_name='sitecookies',
            name='text',
            field=streamsite.security.fields.SecretField(help_text="As exported by a browser's add-on (Netscape's cookies.txt). Use an account made for this, not your own: sites close accounts that download much.", verbose_name='cookies'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='accept_gone',
            field=models.BooleanField(default=False, help_text='The deletion guard is off: missing items are marked at once.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='after',
            field=models.CharField(blank=True, help_text='All keys up to this one are compared and written.', max_length=1024),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='differences',
            field=models.JSONField(blank=True, default=list, help_text='The first differences: verdict and key.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='dry',
            field=models.BooleanField(default=False, help_text='Only shows the differences and writes nothing else.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='gone',
            field=models.PositiveIntegerField(default=0, help_text='Absent items marked as missing: absent for the second time.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='growing',
            field=models.PositiveIntegerField(default=0, help_text='Files changed within half a minute: a later sync adds them.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='heartbeat_at',
            field=models.DateTimeField(default=django.utils.timezone.now, help_text='Last heartbeat of the worker.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='items_before',
            field=models.PositiveIntegerField(default=0, help_text='Items in the library when it began.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='left_out',
            field=models.PositiveIntegerField(default=0, help_text='Hidden files, trash folders and similar, which are no media.'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='status',
            field=models.CharField(choices=[('running', 'Running'), ('done', 'Done'), ('stopped', 'Stopped by the deletion guard'), ('failed', 'Failed')], default='running', max_length=8),
        ),
    ]
