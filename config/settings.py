"""Django's settings: wiring only. Every value that changes between machines comes from `config/env.py`."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config import env, store_settings

django_stubs_ext.monkeypatch()

BASE_DIR = env.BASE_DIR
MODE: str = env.read("ASSAY_MODE")
PRODUCTION = MODE == "production"
DATA_DIR: Path = env.read("ASSAY_DATA")
DEBUG: bool = env.read("ASSAY_DEBUG")
ALLOWED_HOSTS: list[str] = env.read("ASSAY_HOSTS")
CSRF_TRUSTED_ORIGINS: list[str] = env.read("ASSAY_TRUSTED_ORIGINS")
PUBLIC_URL: str = env.read("ASSAY_PUBLIC_URL").rstrip("/")
INFERENCE_URL: str = env.read("ASSAY_INFERENCE_URL").rstrip("/")


def _secret_key() -> str:
    """The signing key; embedded mode keeps a generated one in the data folder, readable by the owner only."""
    key: str = env.read("ASSAY_SECRET_KEY")
    if key or PRODUCTION:
        return key
    path = DATA_DIR / "secret_key"
    if not path.exists():
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50), encoding="utf-8")
    return path.read_text(encoding="utf-8")


SECRET_KEY = _secret_key()

if PRODUCTION:
    if len(SECRET_KEY) < 40:
        raise ImproperlyConfigured(
            "ASSAY_SECRET_KEY is missing or shorter than 40 characters. Make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe(50))'` and give it through ASSAY_SECRET_KEY_FILE."
        )
    if DEBUG:
        raise ImproperlyConfigured(
            "ASSAY_DEBUG is true in production; debug pages leak secrets. Set it to false."
        )
    if not ALLOWED_HOSTS or "*" in ALLOWED_HOSTS:
        raise ImproperlyConfigured(
            "ASSAY_HOSTS must name the host names people use, not '*' and not nothing."
        )
    if not env.read("DATABASE_URL").startswith(("postgresql://", "postgres://")):
        raise ImproperlyConfigured("Production needs DATABASE_URL=postgresql://user:password@host/name.")
    if not env.read("ASSAY_BROKER_URL").startswith(("redis://", "rediss://")):
        raise ImproperlyConfigured("Production needs ASSAY_BROKER_URL=redis://:password@host:6379/0.")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "registry",
    "inference",
    "reviews",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "registry.middleware.request_context",
    "registry.gateway.lane.hub_lane",  # answers /hub; the rest is for pages
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "registry.middleware.AccessMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.errors.DomainErrorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
AUTH_USER_MODEL = "registry.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: who is locked out is not even looked up
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=5)
AXES_LOCKOUT_PARAMETERS = ["ip_address", ["username", "ip_address"]]
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_HANDLER = "registry.sign_in.Attempts"
AXES_LOCKOUT_CALLABLE = "registry.sign_in.refused"
AXES_CLIENT_IP_CALLABLE = "registry.sign_in.client_address"
AXES_HTTP_RESPONSE_CODE = 429
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
TRUSTED_PROXIES = env.read("ASSAY_TRUSTED_PROXIES")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "registry.context_processors.frame",
                "reviews.context_processors.waiting",
            ],
        },
    },
]


def _database() -> dict[str, Any]:
    url: str = env.read("DATABASE_URL")
    if url:
        return dict(dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True))
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "assay.sqlite3",
        "CONN_MAX_AGE": 600,
        "OPTIONS": {
            # IMMEDIATE: a write transaction takes its lock at the start, so that two of them queue instead of failing.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # recursive_triggers: without it INSERT OR REPLACE deletes a row and no delete trigger sees it.
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA recursive_triggers=ON; "
                "PRAGMA foreign_keys=ON; PRAGMA cache_size=-16000;"
            ),
        },
        "TEST": {"NAME": None},
    }


DATABASES = {"default": _database()}

# --- Sessions and cookies ---------------------------------------------------------------------------------------------
_secure: str = env.read("ASSAY_COOKIE_SECURE")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = (
    env.boolean("ASSAY_COOKIE_SECURE", _secure) if _secure else PRODUCTION
)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION and SESSION_COOKIE_SECURE else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

# --- Language, time, static -------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("vi", "Tiếng Việt")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_SECURE, LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE = (
    SESSION_COOKIE_SECURE,
    True,
    "Lax",
)
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # Compressed once by `collectstatic`; the embedded server reads the files where they lie.
        "BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
# The embedded server reads static files where they lie; production collects them once (`manage.py collectstatic`).
WHITENOISE_USE_FINDERS = not PRODUCTION
if not PRODUCTION:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns about a folder that is not there
WHITENOISE_AUTOREFRESH = False

# --- REST -------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "registry.api.authentication.TokenAuthentication",
        "registry.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["registry.access.AccessPermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["registry.api.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "registry.api.pagination.Pages",
    "EXCEPTION_HANDLER": "config.errors.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Assay",
    "DESCRIPTION": "The gate between the Hugging Face Hub and production: only approved, pinned revisions leave.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["registry.access.AccessPermission"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "ApprovalStatus": "registry.enums.ApprovalStatus",
        "ReviewStatus": "reviews.enums.ReviewStatus",
        "JobState": "registry.enums.JobState",
        "Decision": "reviews.enums.Decision",
        "Environment": "reviews.enums.Environment",
        "DataClass": "reviews.enums.DataClass",
        "Tier": "reviews.tiers.CHOICES",
        "FileMark": "reviews.enums.FileMark",
        "AnswerVerdict": "reviews.enums.Verdict",
    },
}

# --- Jobs (the reasons of each value: security notes in docs/operations.md) ---------------------------------------------
BROKER_SOCKET = DATA_DIR / "redis" / "redis.sock"
CELERY_BROKER_URL: str = env.read("ASSAY_BROKER_URL") or f"redis+socket://{BROKER_SOCKET}"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 50
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
JOB_TIMEOUT_S: int = env.read("ASSAY_JOB_TIMEOUT_S")
# The child has JOB_TIMEOUT_S of its own; before it starts, a measurement may wait for others on the same machine.
CELERY_TASK_SOFT_TIME_LIMIT = 3 * JOB_TIMEOUT_S + 60
CELERY_TASK_TIME_LIMIT = 3 * JOB_TIMEOUT_S + 90
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": max(7200, 4 * JOB_TIMEOUT_S),
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 30,
    "socket_keepalive": not CELERY_BROKER_URL.startswith("redis+socket"),
    "health_check_interval": 25,
}
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}
CELERY_TASK_DEFAULT_QUEUE = "short"
JOB_LEASE_S: int = env.read("ASSAY_JOB_LEASE_S")
JOB_HEARTBEAT_S: int = env.read("ASSAY_JOB_HEARTBEAT_S")
JOB_SWEEP_S: int = env.read("ASSAY_JOB_SWEEP_S")
JOB_MAX_ATTEMPTS = 3

# --- The Hub, the store, the model children ----------------------------------------------------------------------------
HUB_ENDPOINT: str = env.read("HF_ENDPOINT").rstrip("/")
HUB_TIMEOUT_S: int = env.read("ASSAY_HUB_TIMEOUT_S")
HUB_MIN_KBPS: int = max(1, env.read("ASSAY_HUB_MIN_KBPS"))
HUB_FILE_GRACE_S: int = env.read("ASSAY_HUB_FILE_GRACE_S")
HUB_RETRIES: int = env.read("ASSAY_HUB_RETRIES")
MAX_FILE_BYTES: int = env.read("ASSAY_MAX_FILE_MB") * 1024 * 1024
MAX_REVISION_BYTES: int = env.read("ASSAY_MAX_REVISION_MB") * 1024 * 1024
MAX_FILES: int = env.read("ASSAY_MAX_FILES")
INSPECTION_TIMEOUT_S: int = env.read("ASSAY_INSPECTION_TIMEOUT_S")
INSPECTION_MEMORY_MB: int = env.read("ASSAY_INSPECTION_MEMORY_MB")
# How the review of a revision without an approval stands, for the sentence that consumers read (registry/consumption.py).
WHY_NOT_APPROVED = "reviews.refusals.why_not_approved"
# Functions of the upper floors that intake calls with a revision's verified files (registry/probes.py).
INSPECTION_PROBES = ["inference.probing.tokenizer"]
STORE_S3: dict[str, str] = store_settings.s3_options()
STORE_S3_PREFIX: str = store_settings.s3_prefix()
STORE_S3_TIMEOUT_S: int = max(1, env.read("ASSAY_S3_TIMEOUT_S"))
STORE_CACHE_BYTES: int = env.read("ASSAY_S3_CACHE_MB") * 1024 * 1024
STORE_GC_H: int = store_settings.grace_hours(JOB_TIMEOUT_S)
# In a bucket's set-up this is the folder of its verified copies, and may be deleted while nothing runs.
STORE_DIR = DATA_DIR / ("store-cache" if STORE_S3 else "store")
SIGNING_KEY: Path | None = env.read("ASSAY_SIGNING_KEY")
MODEL_SIGNING_KEY: Path | None = env.read("ASSAY_MODEL_SIGNING_KEY")
KEYS_DIR = DATA_DIR / "keys"
WITNESSES: list[Path] = env.read("ASSAY_WITNESSES")
ACCEL: str = env.read("ASSAY_ACCEL")
SCRUB_S: int = env.read("ASSAY_SCRUB_S")
SCRUB_BUDGET_S: int = env.read("ASSAY_SCRUB_BUDGET_S")
CHILD_MEMORY_MB: int = env.read("ASSAY_CHILD_MEMORY_MB")

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "config.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": env.read("ASSAY_LOG_LEVEL")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}
