from django.db import migrations, models

PERMISSIONS = ["READ_ONLY", "DOWNLOAD", "ADMIN", "FULL_ACCESS"]


class Migration(migrations.Migration):
    dependencies = [("streamsite", "0005_help_texts")]

    operations = [
        migrations.RemoveConstraint("apikey", "api_key_level_is_known"),
        migrations.RenameField("apikey", "level", "permissions"),
        migrations.AlterField(
            "apikey",
            "permissions",
            models.CharField(
                choices=[(permission, permission) for permission in PERMISSIONS],
                default="READ_ONLY",
                help_text="Each includes those before it: deploy/api.md has the table.",
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            "apikey",
            models.CheckConstraint(
                condition=models.Q(permissions__in=PERMISSIONS),
                name="api_key_permissions_are_known",
            ),
        ),
    ]
