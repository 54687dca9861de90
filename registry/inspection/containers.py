"""What a file is by its content: magic numbers, pickles of every protocol, zips from the front and from the back."""

from __future__ import annotations

import codecs
import io
import pickletools
import re
import struct
import zipfile
from dataclasses import dataclass

from registry.inspection.source import SourceFile

HEAD_BYTES = 64 * 1024
MAX_OPCODES = 20_000
MAX_MEMBERS = 10_000
MAX_RATIO = 200
MAX_UNPACKED = 64 * 1024**3

MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "zip", "a zip archive (PyTorch and Keras files are zips, with pickles or code inside)"),
    (0, b"PK\x05\x06", "zip", "an empty zip archive"),
    (0, b"PK\x07\x08", "zip", "a zip archive in pieces"),
    (0, b"\x1f\x8b", "gzip", "a gzip archive"),
    (0, b"\x1f\x9d", "compress", "a compressed file"),
    (0, b"BZh", "bzip2", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "xz", "an xz archive"),
    (0, b"\x5d\x00\x00", "lzma", "an lzma archive"),
    (0, b"\x28\xb5\x2f\xfd", "zstd", "a zstd archive"),
    (0, b"\x04\x22\x4d\x18", "lz4", "an lz4 archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "rar", "a rar archive"),
    (0, b"MSCF", "cab", "a cabinet archive"),
    (0, b"!<arch>\n", "ar", "an ar archive"),
    (0, b"\x78\x01", "zlib", "a zlib stream (compressed joblib files are)"),
    (0, b"\x78\x5e", "zlib", "a zlib stream (compressed joblib files are)"),
    (0, b"\x78\x9c", "zlib", "a zlib stream (compressed joblib files are)"),
    (0, b"\x78\xda", "zlib", "a zlib stream (compressed joblib files are)"),
    (257, b"ustar", "tar", "a tar archive"),
    (0, b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file (Keras keeps Python code of Lambda layers in it)"),
    (512, b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file behind a prefix"),
    (1024, b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file behind a prefix"),
    (0, b"\x93NUMPY", "numpy", "a numpy array"),
    (0, b"GGUF", "gguf", "a GGUF file"),
    (4, b"TFL3", "tflite", "a TensorFlow Lite file"),
    (0, b"\x7fELF", "elf", "a program (ELF)"),
    (0, b"MZ", "pe", "a program (Windows)"),
    (0, b"\xfe\xed\xfa\xce", "macho", "a program (Mach-O)"),
    (0, b"\xfe\xed\xfa\xcf", "macho", "a program (Mach-O)"),
    (0, b"\xce\xfa\xed\xfe", "macho", "a program (Mach-O)"),
    (0, b"\xcf\xfa\xed\xfe", "macho", "a program (Mach-O)"),
    (0, b"\xca\xfe\xba\xbe", "macho", "a program (Mach-O or Java)"),
    (0, b"\x00asm", "wasm", "a program (WebAssembly)"),
    (0, b"dex\n", "dex", "a program (Dalvik)"),
    (0, b"#!", "script", "a script with an interpreter line"),
    (0, b"%PDF", "pdf", "a PDF document"),
    (0, b"SQLite format 3\x00", "sqlite", "a database"),
    (0, b"PAR1", "parquet", "a Parquet file"),
    (0, b"ARROW1", "arrow", "an Arrow file"),
)  # fmt: skip
_POLYGLOT = "a file with a zip archive at its end: readers disagree about what it is"
_TEXT_MAGIC = {
    "bzip2",
    "pe",
    "gguf",
    "cab",
    "parquet",
    "arrow",
    "lzma",
    "zlib",
    "dex",
}  # could begin an honest text
_ODD = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_GLOBAL_NAME = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_IMPORTING = {"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_CALLING = {"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"}


@dataclass(frozen=True)
class Kind:
    """What a file is (`kind`), as a person would say it (`label`)."""

    kind: str
    label: str


def is_text(data: bytes) -> bool:
    """UTF-8 without control characters that no text has; the end may be cut inside a character."""
    if b"\x00" in data:
        return False
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    # a vocabulary may list the control characters themselves, so a handful is no proof
    return len(_ODD.findall(text)) <= max(64, len(text) // 100)


def sniff(file: SourceFile) -> Kind | None:
    """The container or program that these bytes are, whatever their name; None when nothing is recognised."""
    head = file.head(HEAD_BYTES)
    if file.name.endswith(".safetensors") and _begins_as_safetensors(head, file.size):
        # its first bytes are a length, which may look like any magic number; only the end can deceive
        return Kind("polyglot", _POLYGLOT) if _zip_at_end(file) else None
    text = is_text(head)
    for offset, magic, kind, label in MAGIC:
        if head[offset : offset + len(magic)] == magic and not (text and kind in _TEXT_MAGIC):
            return Kind(kind, label)
    if _is_tar(head):
        return Kind("tar", "a tar archive without a magic number")
    pickled = pickle_kind(head)
    if pickled:
        return pickled
    if _zip_at_end(file):
        return Kind("polyglot", _POLYGLOT)
    if not text and _is_onnx(head):
        return Kind("onnx", "an ONNX graph")
    return None


def _begins_as_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") + 8 <= size


def pickle_kind(head: bytes) -> Kind | None:
    """A pickle of protocol 2 to 5 by its frame, of 0 and 1 by running its opcodes on paper.

    The old protocols have no magic number and may be plain ASCII, so the opcodes are followed with a stack of marks and
    values: a text that imports a name and then calls it without ever underflowing is a pickle, whatever follows after.
    """
    if len(head) >= 2 and head[0] == 0x80 and head[1] <= 5:
        return Kind("pickle", f"a pickle (protocol {head[1]})")
    depth: list[int] = [0]  # values on the stack, one counter a mark
    imported = False
    seen = 0
    try:
        for opcode, argument, _position in pickletools.genops(io.BytesIO(head)):
            seen += 1
            if seen > MAX_OPCODES:
                return None
            if opcode.name == "MARK":
                depth.append(0)
                continue
            if pickletools.markobject in opcode.stack_before:
                if len(depth) < 2:
                    return None
                depth.pop()
                below = opcode.stack_before.index(pickletools.markobject)
                if depth[-1] < below:
                    return None
                depth[-1] -= below
            else:
                if depth[-1] < len(opcode.stack_before):
                    return None
                depth[-1] -= len(opcode.stack_before)
            depth[-1] += len(opcode.stack_after)
            if opcode.name in _IMPORTING:
                if opcode.name in ("GLOBAL", "INST") and not _GLOBAL_NAME.fullmatch(str(argument)):
                    return None
                imported = True
            if opcode.name in _CALLING and imported:
                return Kind("pickle", "a pickle that imports and calls (protocol 0 or 1, readable as text)")
            if opcode.name == "STOP":
                return Kind("pickle", "a pickle (protocol 0 or 1)") if imported or seen > 3 else None
    except Exception:  # whatever pickletools stumbles over: these bytes do not go on as a pickle
        return None
    return None


def _is_tar(head: bytes) -> bool:
    """A tar header of before 1988 has no magic number, only a sum of its own bytes."""
    if len(head) < 512 or not head[0]:
        return False
    field = head[148:156].strip(b" \x00")
    try:
        declared = int(field, 8)
    except ValueError:
        return False
    return declared == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def _zip_at_end(file: SourceFile) -> bool:
    tail = file.tail()
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        record = tail[at : at + 22]
        if len(record) == 22:
            entries, directory, _offset, comment = struct.unpack("<HIIH", record[10:22])
            begins = file.size - len(tail) + at - directory
            if len(tail) - at - 22 >= comment and entries and 0 <= begins < file.size:
                with file.open() as source:
                    source.seek(begins)
                    if source.read(4) == b"PK\x01\x02":
                        return True
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return False


def _is_onnx(head: bytes) -> bool:
    """ModelProto begins with its ir_version (field 1, a small number), then producer, opset or graph follow."""
    return len(head) > 4 and head[0] == 0x08 and 1 <= head[1] <= 20 and head[2] in (0x12, 0x1A, 0x3A, 0x42)


@dataclass(frozen=True)
class ZipContents:
    """What can be said of a zip without unpacking it. `problems` are sentences without a full stop."""

    members: list[str]
    problems: list[str]
    safe_to_scan: bool


def zip_contents(file: SourceFile) -> ZipContents:
    """Names, nested archives, bombs and lies of a zip. Reads at most 16 bytes of each of the first 200 members."""
    problems = []
    try:
        with file.open() as source, zipfile.ZipFile(source) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            unpacked = sum(info.file_size for info in infos)
            safe = True
            if len(infos) > MAX_MEMBERS:
                problems.append(f"it has {len(infos)} members")
                safe = False
            if unpacked > MAX_UNPACKED or unpacked > MAX_RATIO * max(file.size, 1):
                problems.append(f"it unpacks to {unpacked} bytes from {file.size}, as a zip bomb does")
                safe = False
            if len(set(names)) != len(names):
                problems.append("two members have the same name")
            if any(name.startswith(("/", "\\")) or ".." in name.split("/") for name in names):
                problems.append("a member's name leads out of the folder it is unpacked to")
            if any(info.flag_bits & 1 for info in infos):
                problems.append("a member is encrypted, so nobody can look into it")
            if safe:
                problems += _nested(archive, infos[:200])
            return ZipContents(names[:200], problems, safe)
    except (
        Exception
    ) as error:  # zipfile, zlib and struct errors, and whatever else a crafted archive provokes
        return ZipContents([], [f"it cannot be read as a zip ({type(error).__name__})"], False)


def _nested(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> list[str]:
    problems = []
    for info in infos:
        try:
            with archive.open(info) as member:
                head = member.read(300)
        except Exception as error:  # see above
            problems.append(f"its member {info.filename[:80]} cannot be read ({type(error).__name__})")
            continue
        inner = next((k for o, m, k, _ in MAGIC if head[o : o + len(m)] == m and k not in _TEXT_MAGIC), None)
        if inner:
            problems.append(f"it holds another container, {info.filename[:80]} ({inner})")
        if info.filename == "config.json" and b"keras" in head.lower():
            problems.append("it is a Keras model, whose Lambda layers are code")
    return problems[:20]


def numpy_holds_objects(head: bytes) -> bool:
    """Whether the dtype in a numpy header is `object`, which is stored as a pickle."""
    match = re.search(rb"'descr'\s*:\s*(\[.*?\]|'[^']*')", head[:8192], re.DOTALL)
    return match is None or b"O" in match.group(1)


_EXTERNAL = re.compile(rb"\x0a\x08location\x12(.)", re.DOTALL)


def onnx_external_paths(file: SourceFile, limit: int = 64 * 1024 * 1024) -> list[str]:
    """Files that an ONNX graph reads its tensors from (`external_data` location entries in its first `limit` bytes)."""
    data = file.head(limit)
    found = set()
    for match in _EXTERNAL.finditer(data):
        length = match.group(1)[0]
        found.add(data[match.end() : match.end() + length].decode("utf-8", "replace"))
    return sorted(found)[:50]
