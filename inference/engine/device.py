"""Where the model runs."""

from __future__ import annotations

import torch

# Tokens in one forward pass, padding included. On a CPU large batches of unlike lengths are slower than
# small ones; a GPU wants to be filled.
_TOKEN_BUDGET = {"cpu": 1024, "mps": 4096, "cuda": 16384}


def pick_device() -> torch.device:
    """cuda if there is one, else mps, else cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def token_budget_for(device: torch.device) -> int:
    """Tokens in one forward pass that suit the device."""
    return _TOKEN_BUDGET.get(device.type, _TOKEN_BUDGET["cpu"])


def packed_budget_for(device: torch.device) -> int:
    """Tokens in one packed forward pass. Without padding a CPU gains nothing beyond some hundred."""
    return {"cpu": 512, "cuda": 65536}.get(device.type, 4096)


def has_half(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the device computes in that half precision, and not by way of fp32."""
    if device.type == "cpu":
        # The library takes bf16 on every AVX-512 and converts where the instructions are lacking: no half precision.
        able = torch.cpu.get_capabilities()
        native = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return dtype == torch.bfloat16 and native and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return str(device.type) == "cuda"
