"""picklescan, strict, as evidence: what it saw in files that are quarantined anyway. It never makes a file clean."""

from __future__ import annotations

import logging
from typing import Any

from picklescan.scanner import SafetyLevel, scan_bytes

from registry.inspection.findings import Inspection
from registry.inspection.source import SourceFile

MAX_SCAN_BYTES = 2 * 1024**3
_EXTENSIONS = (".bin", ".pt", ".pth", ".ckpt")  # what picklescan reads as PyTorch's own layout


def scan(file: SourceFile, result: Inspection) -> dict[str, Any]:
    """{"status": "dangerous" | "suspicious" | "nothing_known" | "not_scanned" | "error", "globals": [...], "scanned": int}.

    `nothing_known` means that no bad import was recognised, not that the file is safe.
    """
    if file.size > MAX_SCAN_BYTES:
        result.warn(file.path, "picklescan did not look at this file: it is too large.", _ADVICE)
        return {"status": "not_scanned", "globals": [], "scanned": 0}
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    extension = next((e for e in _EXTENSIONS if file.name.endswith(e)), None)
    try:
        with file.open() as source:
            found = scan_bytes(source, file.path, extension, strict=True)
    except MemoryError:
        raise
    except Exception as error:  # it raises whatever zipfile, struct and pickletools raise on broken input
        result.warn(file.path, f"picklescan could not read this file ({type(error).__name__}).", _ADVICE)
        return {"status": "error", "globals": [], "scanned": 0}
    names = sorted({f"{g.module}.{g.name}" for g in found.globals if g.safety != SafetyLevel.Innocuous})
    bad = sorted({f"{g.module}.{g.name}" for g in found.globals if g.safety == SafetyLevel.Dangerous})
    facts = {"globals": names[:50], "scanned": found.scanned_files}
    if bad:
        result.fail(
            file.path,
            f"It would call {', '.join(bad[:5])} when it is opened (picklescan).",
            "Nobody should open this file anywhere. Ask how it came into the repository.",
        )
        return {"status": "dangerous", **facts}
    if found.scan_err:
        result.warn(file.path, "picklescan stopped in the middle of this file.", _ADVICE)
        return {"status": "error", **facts}
    if not found.scanned_files:
        result.warn(file.path, "picklescan found nothing in it that it can read (0 scanned).", _ADVICE)
        return {"status": "not_scanned", **facts}
    if names:
        result.warn(file.path, f"It imports {', '.join(names[:5])}, which picklescan does not know.", _ADVICE)
        return {"status": "suspicious", **facts}
    return {"status": "nothing_known", **facts}


_ADVICE = "Not scanned is not safe: the file stays quarantined."
