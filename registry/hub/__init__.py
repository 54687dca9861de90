"""The only package that speaks to the Hub. Its errors are caught in `client.py`, once, and leave as sentences.

Facts behind the choices (measured): the client does not verify content on plain HTTP, accepts another commit than asked,
and takes short or upper-case SHAs for branch names; so we resolve, compare and re-hash ourselves.
"""

from registry.hub.downloading import deadline_s, download
from registry.hub.listing import COMMITS_READ, on_default_branch, scan_status, tree_of
from registry.hub.names import check_model_id, check_revision, parse_reference
from registry.hub.resolving import HubFile, HubRevision, resolve

__all__ = [
    "COMMITS_READ",
    "HubFile",
    "HubRevision",
    "check_model_id",
    "check_revision",
    "deadline_s",
    "download",
    "on_default_branch",
    "parse_reference",
    "resolve",
    "scan_status",
    "tree_of",
]
