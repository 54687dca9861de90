"""`python -m tests.house.states > docs/states.md` writes the diagrams anew."""

import os
import sys

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from reviews.states_doc import as_markdown

    sys.stdout.write(as_markdown())
