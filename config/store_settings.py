"""Which store: the settings that only make sense together are refused at start, with the cure, when they do not."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from config import env


def s3_options() -> dict[str, str]:
    """What django-storages is told; empty means the folder store."""
    given = {
        name: env.read(name)
        for name in (
            "ASSAY_S3_BUCKET",
            "ASSAY_S3_ENDPOINT",
            "ASSAY_S3_REGION",
            "ASSAY_S3_ACCESS_KEY",
            "ASSAY_S3_SECRET_KEY",
        )
    }
    if env.read("ASSAY_STORE") == "folder":
        if named := sorted(name for name, value in given.items() if value):
            raise ImproperlyConfigured(
                f"{', '.join(named)} is set, but ASSAY_STORE is folder. Set ASSAY_STORE=s3, or remove them."
            )
        return {}
    if not given["ASSAY_S3_BUCKET"]:
        raise ImproperlyConfigured("ASSAY_STORE is s3; name the bucket in ASSAY_S3_BUCKET.")
    if bool(given["ASSAY_S3_ACCESS_KEY"]) != bool(given["ASSAY_S3_SECRET_KEY"]):
        raise ImproperlyConfigured(
            "ASSAY_S3_ACCESS_KEY and ASSAY_S3_SECRET_KEY belong together: set both, or neither to use the machine's role."
        )
    if given["ASSAY_S3_ENDPOINT"] and not given["ASSAY_S3_ENDPOINT"].startswith(("http://", "https://")):
        raise ImproperlyConfigured(
            "ASSAY_S3_ENDPOINT must begin with https:// (or http:// on a private network)."
        )
    options = {
        "bucket_name": given["ASSAY_S3_BUCKET"],
        "endpoint_url": given["ASSAY_S3_ENDPOINT"],
        "region_name": given["ASSAY_S3_REGION"],
        "access_key": given["ASSAY_S3_ACCESS_KEY"],
        "secret_key": given["ASSAY_S3_SECRET_KEY"],
    }
    return {name: value for name, value in options.items() if value}


def s3_prefix() -> str:
    prefix: str = env.read("ASSAY_S3_PREFIX").strip("/")
    if any(part in (".", "..") for part in prefix.split("/")):
        raise ImproperlyConfigured(
            "ASSAY_S3_PREFIX has a part . or ..; write a plain folder name, as assay/."
        )
    return f"{prefix}/" if prefix else ""


def grace_hours(job_timeout_s: int) -> int:
    """An intake may last three times the job timeout; garbage younger than that may be about to be recorded."""
    hours: int = env.read("ASSAY_STORE_GC_H")
    if hours * 3600 <= 3 * job_timeout_s:
        raise ImproperlyConfigured(
            f"ASSAY_STORE_GC_H is {hours}; it must be longer than an intake may last (3 x ASSAY_JOB_TIMEOUT_S)."
        )
    return hours
