from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0104_approvals_by_age'),
    ]

    operations = [
        migrations.CreateModel(
            name='FailedAttempts',
            fields=[
                ('key', models.CharField(help_text='HMAC of what is limited and whose attempts they are.', max_length=64, primary_key=True, serialize=False)),
                ('count', models.PositiveIntegerField()),
                ('since', models.DateTimeField(db_index=True)),
            ],
        ),
    ]
