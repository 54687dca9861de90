"""`python -m tests.house.policies > docs/policies.md` writes the page with the catalogue of facts anew."""

import os
import sys

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from reviews.policies_doc import as_markdown

    sys.stdout.write(as_markdown())
