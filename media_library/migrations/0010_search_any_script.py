from django.db import migrations

_INDEX = (
    "CREATE INDEX item_words ON media_library_mediaitem USING gin "
    "(upper(({0})::text) gin_trgm_ops, upper(({1})::text) gin_trgm_ops)"
)
_DROP = "DROP INDEX IF EXISTS item_words"


def _trigrams(schema_editor, title, key):
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'")
        if cursor.fetchone() is None:
            return
    schema_editor.execute(_DROP)
    schema_editor.execute(_INDEX.format(title, key))


def fold_all_scripts(apps, schema_editor):
    """The index as searches ask now: keys are collated "C", whose upper() knows ASCII only."""
    _trigrams(schema_editor, 'title COLLATE "und-x-icu"', 'key COLLATE "und-x-icu"')


def fold_ascii(apps, schema_editor):
    _trigrams(schema_editor, "title", "key")


class Migration(migrations.Migration):

    dependencies = [
        ("media_library", "0009_reservation"),
    ]

    operations = [
        migrations.RunPython(fold_all_scripts, fold_ascii),
    ]
