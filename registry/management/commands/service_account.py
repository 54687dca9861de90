"""`manage.py service_account --token-file PATH`: how an inference server gets its account and token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.exceptions import DomainError
from registry.services.service_accounts import ensure_service_token


class Command(BaseCommand):
    help = "Makes a service account and keeps a good token of it in a file that only its owner can read."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", default="inference-server", help="the account's user name")
        parser.add_argument("--token-file", type=Path, required=True, help="where the token is kept")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["token_file"]
        try:
            renewed = ensure_service_token(username=options["name"], path=path)
        except DomainError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(
                f"{path} cannot be written: {error.strerror}. Choose a folder of your own."
            ) from error
        self.stdout.write(f"{'A new token is' if renewed else 'The token is still good,'} in {path}")
