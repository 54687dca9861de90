"""`manage.py export_audit > audit.jsonl`: both chains as lines of JSON, for `assay audit verify --events`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from registry.canonical import canonical_json
from registry.checkpoints import CHAINS


class Command(BaseCommand):
    help = "Writes every event of the audit log as one line of JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--chain", choices=sorted(CHAINS), action="append", help="default: both")

    def handle(self, *args: Any, **options: Any) -> None:
        for chain in options["chain"] or CHAINS:
            for event in CHAINS[chain].objects.order_by("seq").iterator(chunk_size=2000):
                row = {
                    "chain": chain,
                    "seq": event.seq,
                    "at": event.at.isoformat(),
                    "body": event.body,
                    "prev": bytes(event.prev).hex(),
                    "hash": bytes(event.hash).hex(),
                    "verb": event.verb,
                    "actor_id": event.actor_id,
                    "team_id": event.team_id,
                    "object_type": event.object_type,
                    "object_id": event.object_id,
                }
                self.stdout.write(canonical_json(row))
