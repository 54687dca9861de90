"""File formats by allow-list and by content: what is not known to be safe is said, whatever its name."""

from __future__ import annotations

from registry.inspection.findings import Inspection

PASS = (
    ".safetensors",
    ".json",
    ".txt",
    ".md",
    ".model",
    ".gitattributes",
    ".jinja",
    ".yaml",
    ".yml",
    ".codes",
)
PASS_NAMES = ("license", "licence", "notice", "readme", ".gitattributes", ".gitignore")
SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive (PyTorch weights are zipped pickles)"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


def inspect_formats(heads: dict[str, bytes]) -> Inspection:
    """`heads` = path -> first bytes. Facts: the paths that are quarantined (kept as evidence, never given out or loaded)."""
    result = Inspection()
    quarantined = []
    for path, head in sorted(heads.items()):
        name = path.rsplit("/", 1)[-1].lower()
        signature = next((what for magic, what in SIGNATURES if head.startswith(magic)), None)
        if signature and not name.endswith(".safetensors"):
            quarantined.append(path)
            result.warn(
                path,
                f"This file is {signature}; opening it can run code.",
                "It is never loaded nor given out.",
            )
        elif name.endswith(".py"):
            continue  # the configuration inspector speaks of code
        elif not name.endswith(PASS) and name not in PASS_NAMES:
            quarantined.append(path)
            result.warn(
                path,
                "This file's format is not on the list of known ones.",
                "It is never loaded nor given out.",
            )
    result.facts = {"quarantined": quarantined}
    return result
