"""Hostile repositories, made here and never executed. Each would leave a mark if any inspector opened it the wrong way.

`canary(path)` texts name a file; a case that runs creates it, and the tests look for it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sample_hub.samples import tiny_model

Files = dict[str, bytes | None]


@dataclass(frozen=True)
class Case:
    """`files` change a complete little repository (None deletes). One finding at least has this severity and these words.

    severity "refused": the revision is not taken at all, with a sentence that has the words.
    """

    name: str
    files: Files
    severity: str
    words: str
    quarantined: str = ""
    model_id: str = "acme/sentiment"


class Bomb:
    """Pickles into a call of os.system that touches the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def text_pickle(canary: Path) -> bytes:
    """Protocol 0, as an attacker writes it by hand: plain ASCII."""
    return f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(members: dict[str, bytes], layout: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def old_tar(members: dict[str, bytes]) -> bytes:
    """A tar header of the seventh edition: no magic number, only a checksum."""
    data = bytearray(tarred(members))
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def numpy_array(descr: str, payload: bytes) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def onnx_graph(location: str) -> bytes:
    entry = b"\x0a\x08location\x12" + bytes([len(location)]) + location.encode()
    return b"\x08\x08\x12\x07pytorch\x3a" + bytes([len(entry)]) + entry + b"\x00\xff\xfe"


def safetensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def one_tensor(**changed: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changed}}


MANY_DIGITS = b'{"w":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,1]}}'


def holding(data: bytes) -> bytes:
    """A true safetensors file whose one tensor is another file."""
    return safetensors(one_tensor(dtype="U8", shape=[len(data)], data_offsets=[0, len(data)]), data)


def with_config(**more: Any) -> Files:
    return {"config.json": json.dumps({**json.loads(tiny_model()["config.json"]), **more}).encode()}


def with_tokenizer_config(**more: Any) -> Files:
    kept = json.loads(tiny_model()["tokenizer_config.json"])
    return {"tokenizer_config.json": json.dumps({**kept, **more}).encode()}


def card(header: str, body: str = "# A model\n") -> Files:
    return {"README.md": f"---\n{header}\n---\n{body}".encode()}


def python(text: str) -> Files:
    return {**with_config(auto_map={"AutoModel": "modeling_x.X"}), "modeling_x.py": text.encode()}


def sharded(weight_map: dict[str, str], **files: bytes | None) -> Files:
    index = json.dumps({"metadata": {"total_size": 16}, "weight_map": weight_map}).encode()
    return {"model.safetensors.index.json": index, **files}


def cases(canary: Path) -> list[Case]:
    bombs = {protocol: pickle.dumps(Bomb(canary), protocol) for protocol in range(6)}
    old, new = bombs[0], bombs[4]
    torch_zip = zipped({"archive/data.pkl": bombs[2], "archive/version": b"3\n"})
    touch = f"touch {canary}"
    evil_import = f"import os\nos.system({touch!r})\n"
    return [
        # --- pickles, whatever their name -----------------------------------------------------------------------------
        *(
            Case(f"pickle_protocol_{n}", {"extra.pkl": bombs[n]}, "warn", "a pickle", "extra.pkl")
            for n in range(6)
        ),
        Case("pickle_says_what_it_calls", {"extra.pkl": new}, "fail", "would call", "extra.pkl"),
        Case("pickle_named_txt", {"notes.txt": text_pickle(canary)}, "warn", "a pickle", "notes.txt"),
        Case("pickle_named_json", {"extra.json": old}, "warn", "a pickle", "extra.json"),
        Case("pickle_named_md", {"docs.md": text_pickle(canary)}, "warn", "a pickle", "docs.md"),
        Case("pickle_without_extension", {"LICENSE": new}, "warn", "a pickle", "LICENSE"),
        Case("pickle_named_model", {"spiece.model": new}, "warn", "a pickle", "spiece.model"),
        Case("pickle_named_safetensors", {"model.safetensors": new}, "refused", "is a pickle"),
        Case("text_pickle_named_safetensors", {"model.safetensors": text_pickle(canary)}, "refused", "is a pickle"),
        Case("pickle_truncated_after_payload", {"x.bin": new[:-2]}, "warn", "a pickle", "x.bin"),
        Case(
            "pickle_text_truncated_after_payload", {"x.txt": text_pickle(canary)[:-1] + b"("}, "warn", "a pickle", "x.txt"
        ),
        Case("pickle_inst_opcode", {"v.txt": f"(S'{touch}'\nios\nsystem\n.".encode()}, "warn", "a pickle", "v.txt"),
        Case("pickle_benign_is_not_clean_either", {"x.bin": pickle.dumps({"a": 1})}, "warn", "a pickle", "x.bin"),
        # --- archives and other containers ----------------------------------------------------------------------------
        Case("torch_zip", {"pytorch_model.bin": torch_zip}, "warn", "zip archive", "pytorch_model.bin"),
        Case("torch_zip_says_what_it_calls", {"pytorch_model.bin": torch_zip}, "fail", "would call"),
        Case("zip_named_txt", {"vocab.txt": torch_zip}, "warn", "zip archive", "vocab.txt"),
        Case("zip_in_zip", {"a.bin": zipped({"b.zip": torch_zip})}, "warn", "another container", "a.bin"),
        Case("zip_bomb", {"a.bin": zipped({"z": bytes(9_000_000)}, zipfile.ZIP_DEFLATED)}, "warn", "zip bomb", "a.bin"),
        Case("zip_leads_outside", {"a.zip": zipped({"../../x": b"x"})}, "warn", "leads out", "a.zip"),
        Case("zip_zero_scanned", {"a.zip": zipped({"readme": b"hello"})}, "warn", "0 scanned", "a.zip"),
        Case("zip_broken", {"a.bin": torch_zip[:60]}, "warn", "cannot be read", "a.bin"),
        Case("polyglot_text_and_zip", {"notes.txt": b"# notes\n" + torch_zip}, "warn", "at its end", "notes.txt"),
        Case(
            "polyglot_json_and_zip",
            {"extra.json": b'{"a": 1}\n' + torch_zip}, "warn", "at its end", "extra.json",
        ),
        Case(
            "polyglot_safetensors_and_zip",
            {"model.safetensors": holding(torch_zip)},
            "warn", "at its end", "model.safetensors",
        ),
        Case("tar", {"a.nemo": tarred({"x.pkl": new})}, "warn", "a tar archive", "a.nemo"),
        Case("tar_of_the_seventh_edition", {"a.txt": old_tar({"x.pkl": new})}, "warn", "a tar archive", "a.txt"),
        Case("gzip", {"a.bin": gzip.compress(new)}, "warn", "gzip", "a.bin"),
        Case("bzip2", {"a.bin": bz2.compress(new)}, "warn", "bzip2", "a.bin"),
        Case("xz", {"a.bin": lzma.compress(new)}, "warn", "xz", "a.bin"),
        Case("zlib_joblib", {"a.joblib": zlib.compress(new)}, "warn", "zlib", "a.joblib"),
        Case("zstd", {"a.zst": b"\x28\xb5\x2f\xfd" + bytes(40)}, "warn", "zstd", "a.zst"),
        Case("seven_zip", {"a.bin": b"7z\xbc\xaf\x27\x1c" + bytes(40)}, "warn", "7z", "a.bin"),
        Case("rar", {"a.bin": b"Rar!\x1a\x07\x01\x00" + bytes(40)}, "warn", "rar", "a.bin"),
        Case("numpy_of_objects", {"a.npy": numpy_array("'|O'", new)}, "warn", "Python objects", "a.npy"),
        Case("numpy_plain_is_not_passed", {"a.npy": numpy_array("'<f4'", bytes(4))}, "warn", "numpy", "a.npy"),
        Case("npz_of_objects", {"a.npz": zipped({"x.npy": numpy_array("'|O'", new)})}, "warn", "zip archive", "a.npz"),
        Case("hdf5", {"tf_model.h5": b"\x89HDF\r\n\x1a\n" + bytes(100)}, "warn", "HDF5", "tf_model.h5"),
        Case("hdf5_behind_a_prefix", {"a.txt": bytes(512) + b"\x89HDF\r\n\x1a\n"}, "warn", "HDF5", "a.txt"),
        Case(
            "keras_lambda", {"m.keras": zipped({"config.json": b'{"module": "keras", "class_name": "Lambda"}'})},
            "warn", "Keras", "m.keras",
        ),
        Case("onnx", {"model.onnx": onnx_graph("weights.bin")}, "warn", "ONNX", "model.onnx"),
        Case("onnx_reads_outside", {"model.onnx": onnx_graph("../../etc/passwd")}, "fail", "another file", "model.onnx"),
        Case("gguf", {"m.gguf": b"GGUF" + bytes([3, 0, 0, 0]) + bytes(40)}, "warn", "GGUF", "m.gguf"),
        Case("elf", {"lib.txt": b"\x7fELF" + bytes(60)}, "warn", "program", "lib.txt"),
        Case("windows_program", {"setup.exe": b"MZ" + bytes(60)}, "warn", "program", "setup.exe"),
        Case("macho", {"lib.dylib": b"\xcf\xfa\xed\xfe" + bytes(60)}, "warn", "program", "lib.dylib"),
        Case("shell_script", {"install.txt": f"#!/bin/sh\n{touch}\n".encode()}, "warn", "script", "install.txt"),
        Case("unknown_format", {"a.xyz": b"anything"}, "warn", "not on the list", "a.xyz"),
        Case("binary_named_txt", {"vocab.txt": b"\x00\x01\x02\xff" * 20}, "warn", "something else", "vocab.txt"),
        Case("flax_msgpack", {"flax_model.msgpack": b"\x82\xa6params"}, "warn", "not on the list", "flax_model.msgpack"),
        # --- configuration that runs code or reaches elsewhere ------------------------------------------------------------
        Case("auto_map", with_config(auto_map={"AutoModel": "modeling_x.X"}), "warn", "run code of the repository"),
        Case(
            "auto_map_other_repository", with_config(auto_map={"AutoModel": "evil/repo--modeling.X"}),
            "fail", "code of another repository",
        ),
        Case("auto_map_deep", with_config(a={"b": [{"auto_map": {"AutoConfig": "c.C"}}]}), "warn", "a.b[0].auto_map"),
        Case("auto_map_in_tokenizer", with_tokenizer_config(auto_map=["t.T", None]), "warn", "run code"),
        Case(
            "auto_map_in_processor",
            {"processor_config.json": b'{"auto_map": {"AutoProcessor": "p.P"}}'}, "warn", "run code",
        ),
        Case(
            "auto_map_in_preprocessor",
            {"preprocessor_config.json": b'{"auto_map": {"AutoImageProcessor": "p.P"}}'}, "warn", "run code",
        ),
        Case("trust_remote_code", with_config(trust_remote_code=True), "warn", "trust code"),
        Case("attention_kernel", with_config(_attn_implementation="evil/kernel"), "fail", "compute kernel"),
        Case("attention_kernel_public_key", with_config(attn_implementation="evil/k@main:f"), "fail", "compute kernel"),
        Case(
            "attention_kernel_by_part", with_config(attn_implementation={"vision": "evil/kernel"}),
            "fail", "compute kernel",
        ),
        Case("attention_internal", with_config(_attn_implementation_internal="eager"), "warn", "compute kernel"),
        Case(
            "custom_generate_repository", {"generation_config.json": b'{"custom_generate": "evil/generate"}'},
            "fail", "another repository",
        ),
        Case(
            "custom_generate_folder", {"custom_generate/generate.py": evil_import.encode()}, "warn", "generate text"
        ),
        Case("tokenizer_class_unknown", with_tokenizer_config(tokenizer_class="EvilTokenizer"), "warn", "not one that"),
        Case("tokenizer_class_remote", with_tokenizer_config(tokenizer_class="evil/repo--t.T"), "warn", "another repository"),
        Case(
            "adapter_base", {"adapter_config.json": b'{"base_model_name_or_path": "evil/base"}'},
            "warn", "fetch another repository",
        ),
        Case("backbone", with_config(use_pretrained_backbone=True, backbone="evil/base"), "warn", "another repository"),
        Case(
            "sentence_transformers_module", {"modules.json": b'[{"idx": 0, "type": "custom_st.Evil"}]'},
            "warn", "class of its own",
        ),
        Case("side_json_broken", {"extra_config.json": b'{"a": '}, "warn", "not valid JSON"),
        Case("config_key_twice", {"config.json": b'{"a": 1, "a": 2}'}, "refused", "twice"),
        Case("config_too_deep", {"config.json": b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"}, "refused", "deeper"),
        Case("config_nesting_bomb", {"config.json": b"[" * 200_000}, "refused", "not valid JSON"),
        Case("config_lone_surrogate", {"config.json": b'{"a": "\\ud800"}'}, "refused", "half of a character"),
        # --- Python --------------------------------------------------------------------------------------------------------
        Case("code_os_system", python(evil_import), "warn", "os.system"),
        Case("code_alias", python(f"from os import system as s\ns({touch!r})\n"), "warn", "os.system"),
        Case("code_assigned_alias", python(f"import os\nrun = os.system\nrun({touch!r})\n"), "warn", "os.system"),
        Case("code_exec", python(f"exec(\"import os; os.system('{touch}')\")\n"), "warn", "`exec`"),
        Case("code_eval", python("eval('1')\n"), "warn", "`eval`"),
        Case("code_subprocess", python("import subprocess\nsubprocess.run(['id'])\n"), "warn", "subprocess"),
        Case("code_socket", python("import socket\n"), "warn", "opens the network"),
        Case("code_environment", python("import os\nx = os.environ['HF_TOKEN']\n"), "warn", "secrets"),
        Case("code_ctypes", python("import ctypes\nctypes.CDLL(None)\n"), "warn", "machine code"),
        Case("code_torch_load", python("import torch\ntorch.load('x.bin')\n"), "warn", "torch.load"),
        Case("code_writes_file", python("open('/tmp/x', 'w').write('x')\n"), "warn", "may write a file"),
        Case("code_getattr", python("import os\ngetattr(os, 'sys' + 'tem')('id')\n"), "warn", "dynamically"),
        Case("code_dunder_import", python("__import__('o' + 's')\n"), "warn", "imports by name"),
        Case("code_class_tree", python("().__class__.__base__.__subclasses__()\n"), "warn", "every class"),
        Case("code_does_not_parse", python("def broken(:\n"), "fail", "cannot be parsed"),
        Case("code_file_missing", with_config(auto_map={"AutoModel": "gone.X"}), "warn", "does not have it"),
        # --- chat templates -------------------------------------------------------------------------------------------------
        Case(
            "template_class_tree",
            with_tokenizer_config(chat_template="{{ ''.__class__.__mro__[1].__subclasses__() }}"), "fail", "inner names",
        ),
        Case("template_file", {"chat_template.jinja": b"{% for x in y %}\n{{ x.__init__ }}"}, "fail", "inner names"),
        Case("template_attr", with_tokenizer_config(chat_template="{{ x|attr('a') }}"), "fail", "attr filter"),
        Case("template_helper", with_tokenizer_config(chat_template="{{ cycler }}"), "fail", "sandboxes"),
        Case(
            "template_by_name", with_tokenizer_config(chat_template=[{"name": "a", "template": "{% import 'x' %}"}]),
            "fail", "another template",
        ),
        Case("template_bomb", with_tokenizer_config(chat_template="{{ '%0300000000d' % 1 }}"), "warn", "any size"),
        # --- weights --------------------------------------------------------------------------------------------------------
        Case("header_too_long", {"model.safetensors": safetensors(b"{}", length=2**40)}, "refused", "cannot be"),
        Case("header_not_json", {"model.safetensors": safetensors(b"{oops")}, "refused", "not JSON"),
        Case(
            "header_key_twice",
            {"model.safetensors": safetensors(b'{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                                              b'"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x")},
            "refused", "twice",
        ),
        Case("tensor_outside", {"model.safetensors": safetensors(one_tensor(), bytes(8))}, "refused", "no tensor"),
        Case("tensor_hidden_bytes", {"model.safetensors": safetensors(one_tensor(), bytes(99))}, "refused", "no tensor"),
        Case(
            "tensor_wrong_shape", {"model.safetensors": safetensors(one_tensor(shape=[9, 9]), bytes(16))},
            "refused", "does not fit",
        ),
        Case(
            "tensor_unknown_type", {"model.safetensors": safetensors(one_tensor(dtype="PKL"), bytes(16))},
            "refused", "wrongly",
        ),
        Case(
            "tensors_overlap",
            {"model.safetensors": safetensors({**one_tensor(), "v": one_tensor(data_offsets=[8, 24])["w"]}, bytes(24))},
            "refused", "overlap",
        ),
        Case(
            "number_of_many_digits",
            {"model.safetensors": safetensors(MANY_DIGITS, b"x")},
            "refused", "not JSON",
        ),
        Case("index_leads_outside", sharded({"w": "../../../etc/passwd"}), "fail", "outside of its folder"),
        Case("index_names_missing_shard", sharded({"w": "model-00002-of-00002.safetensors"}), "fail", "does not have"),
        Case("index_names_pickle", sharded({"w": "x.bin"}, **{"x.bin": new}), "warn", "not safetensors"),
        Case("index_disagrees", sharded({"other": "model.safetensors"}), "fail", "disagree"),
        Case("index_without_map", {"model.safetensors.index.json": b"{}"}, "fail", "no weight_map"),
        # --- tokenizer, labels, card, licence, name ---------------------------------------------------------------------------
        Case("more_tokens_than_embeddings", with_config(vocab_size=2), "fail", "embeddings for 2"),
        Case("labels_contradict", with_config(label2id={"positive": 0, "negative": 1}), "warn", "contradict"),
        Case("labels_generic", with_config(id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0}), "warn", "generic"),
        Case("card_missing", {"README.md": None}, "warn", "no model card"),
        Case("card_alias_bomb", card("a: &a [x, x]\nb: [*a, *a]"), "warn", "aliases"),
        Case("card_python_object", card(f"a: !!python/object/apply:os.system ['{touch}']"), "warn", "cannot be read"),
        Case("card_deep", card("a: " + "[" * 300 + "]" * 300), "warn", "deeper"),
        Case("licence_missing", card("language: vi"), "warn", "no licence"),
        Case("licence_non_commercial", card("license: cc-by-nc-4.0"), "warn", "forbids commercial use"),
        Case("licence_no_derivatives", card("license: cc-by-nd-4.0"), "warn", "forbids derivatives"),
        Case("licence_other_without_link", card("license: other"), "warn", "license_link"),
        Case("licence_not_in_any_table", card("license: my-own-terms"), "warn", "a table can judge"),
        Case(
            "licence_file_contradicts",
            {**card("license: apache-2.0"), "LICENSE": b"Attribution-NonCommercial 4.0 International\n"},
            "fail", "reads like cc-by-nc",
        ),
        Case("name_with_capital_i", {}, "warn", "looks like 'meta-llama'", model_id="meta-lIama/Llama-3"),
        Case("name_with_zero", {}, "warn", "looks like 'google'", model_id="g00gle/bert"),
        Case("name_rn_for_m", {}, "warn", "looks like 'microsoft'", model_id="rnicrosoft/phi"),
        Case("name_cyrillic", {}, "warn", "looks like 'openai'", model_id="\u043epenai/gpt"),
        Case("name_one_letter_off", {}, "warn", "looks like 'facebook'", model_id="facebok/opt"),
    ]  # fmt: skip
