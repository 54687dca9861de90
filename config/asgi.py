"""ASGI entry point, for those who host Django that way. The measured default is WSGI (docs/adr/0004-granian-wsgi.md)."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_asgi_application()
