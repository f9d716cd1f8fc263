from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("streams", "0009_as_run_by_time"),
    ]

    operations = [
        migrations.AddField(
            model_name="livestream",
            name="unpublished_call",
            field=models.PositiveBigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="livestream",
            name="disconnected_call",
            field=models.PositiveBigIntegerField(editable=False, null=True),
        ),
    ]
