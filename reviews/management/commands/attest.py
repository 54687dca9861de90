"""`manage.py attest`: signs approvals that were given while there was no key. What they say cannot have changed since."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from registry.exceptions import NotConfigured
from registry.models import Approval
from reviews.attestations import write_attestation


class Command(BaseCommand):
    help = "Attests every approval that has no attestation yet."

    def handle(self, *args: Any, **options: Any) -> None:
        missing = Approval.objects.filter(attestation__isnull=True).select_related("model__team", "revision")
        count = 0
        for approval in missing.order_by("pk"):
            try:
                write_attestation(None, approval)
            except NotConfigured as error:
                raise CommandError(error.message) from error
            count += 1
        self.stdout.write(f"{count} approval{'s' if count != 1 else ''} attested")
