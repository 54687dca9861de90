"""The packed encoder: embeddings, layers and head over rows of tokens that know no padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from inference.engine.packed.addnorm import AddNorm, make_add_norm
from inference.engine.packed.architectures import Architecture, HeadStep
from inference.engine.packed.attention import Attention, Layout
from inference.engine.packed.dense import Dense, make_dense
from inference.engine.packed.rotary import Rotary
from inference.engine.packed.weights import Weights
from inference.engine.tasks import Head

Norm = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Rows:
    """A batch as the encoder takes it, on its device: (rows,) each, and the first row of each sequence."""

    ids: torch.Tensor
    positions: torch.Tensor
    types: torch.Tensor | None
    firsts: torch.Tensor
    layout: Layout


@dataclass(frozen=True)
class _Layer:
    qkv: Dense
    out: Dense
    # Norms before (ModernBERT) or sums with their norms after (BERT); the other pair is unused.
    norm1: Norm
    norm2: Norm
    sum1: AddNorm
    sum2: AddNorm
    up: Dense
    down: Dense
    window: int
    rotary: Rotary | None
    # Only in the last layer of a model whose head reads the first tokens alone.
    query: Dense | None = None


class Encoder:
    """Built from a row of the table and the weights. Raises NotPacked; what the file lacks stands in
    `weights.missing`."""

    def __init__(
        self,
        known: Architecture,
        config: dict[str, Any],
        weights: Weights,
        head: Head,
        *,
        attention: Attention,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._known, self._weights, self._attention = known, weights, attention
        self._device, self._dtype = device, dtype
        self.heads = int(known.setting(config, "num_attention_heads", 0))
        self._eps = float(known.setting(config, "layer_norm_eps", 1e-12))
        self._after_up = str(known.setting(config, "hidden_act", "gelu"))
        self._size = int(known.setting(config, "hidden_size", 0))
        count = int(known.setting(config, "num_hidden_layers", 0))
        self._firsts_only = head.kind == "classify" or (head.kind == "embed" and head.pooling == "cls")
        self._mean = head.kind == "embed" and head.pooling == "mean"

        self._word = self._table(known.word)
        self._position = self._table(known.position) if known.position else None
        self._types = self._table(known.types) if known.types else None
        self._embed_norm = self._norm(known.embed_norm)
        self._project = self._dense((known.project,)) if known.project and self._has(known.project) else None
        self._layers = [self._layer(number, count, config) for number in range(count)]
        self._final_norm = self._norm(known.final_norm) if known.final_norm else None
        steps: tuple[HeadStep, ...] = {"classify": known.classify, "tag": known.tag}.get(head.kind, ())
        self._head = [self._step(step) for step in steps]
        self.positions = len(self._position) if self._position is not None else None
        self.uses_types = self._types is not None and len(self._types) > 1

    def forward(self, rows: Rows) -> torch.Tensor:
        """Logits or vectors: (sequences or more, size), or (rows, labels) for a token head."""
        x = self._embed(rows)
        for layer in self._layers:
            x = self._before(layer, x, rows) if self._known.pre_norm else self._after(layer, x, rows)
        if self._final_norm is not None:
            x = self._final_norm(x)
        if self._mean:
            return _mean(x, rows.layout)
        for step in self._head:
            x = step(x)
        return x

    def _embed(self, rows: Rows) -> torch.Tensor:
        x = functional.embedding(rows.ids, self._word)
        if self._position is not None:
            x = x + functional.embedding(rows.positions, self._position)
        if self._types is not None:
            x = x + (self._types[0] if rows.types is None else functional.embedding(rows.types, self._types))
        x = self._embed_norm(x)
        return x if self._project is None else self._project(x)

    def _after(self, layer: _Layer, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """A layer with its norms after (BERT)."""
        seen, x = self._attend(layer, x, x, rows)
        x = layer.sum1(layer.out(seen), x)
        return layer.sum2(layer.down(layer.up(x)), x)

    def _before(self, layer: _Layer, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """A layer with its norms before and a gated feed-forward (ModernBERT)."""
        seen, x = self._attend(layer, layer.norm1(x), x, rows)
        x = x + layer.out(seen)
        value, gate = layer.up(layer.norm2(x)).chunk(2, dim=-1)
        value = functional.gelu(value) if self._after_up == "gelu" else functional.relu(value)
        return x + layer.down(value * gate)

    def _attend(
        self, layer: _Layer, x: torch.Tensor, residual: torch.Tensor, rows: Rows
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the tokens see, and the residual for the same rows."""
        layout = rows.layout
        if layer.query is not None:
            kept = residual.index_select(0, rows.firsts)
            query = layer.query(x.index_select(0, rows.firsts) if residual is not x else kept)
            return self._attention.first(query, layer.qkv(x), layout), kept
        qkv = layer.qkv(x)
        if layer.rotary is not None:
            qkv = layer.rotary(qkv, rows.positions, self.heads)
        seen = self._attention.every(qkv, layout, layer.window)
        if self._firsts_only and layer is self._layers[-1]:
            return seen.index_select(0, rows.firsts), residual.index_select(0, rows.firsts)
        return seen, residual

    def warm(self, rows: int, firsts: int) -> None:
        """Meet the dense layers' shapes once, so that a request does not pay for it: one layer of each kind,
        with so many rows."""
        for number, layer in {0: self._layers[0], -1: self._layers[-1]}.items():
            some = self._word.new_zeros(rows, self._size, dtype=self._dtype)
            layer.qkv(some)
            few = some if number == 0 else some.new_zeros(firsts, self._size)
            if layer.query is not None:
                layer.query(few)
            layer.out(few)
            up = layer.up(few)
            layer.down(up.chunk(2, dim=-1)[0] if self._known.gated else up)

    def _layer(self, number: int, count: int, config: dict[str, Any]) -> _Layer:
        known, prefix = self._known, self._known.layer.format(number)
        rotary, window = Rotary.of_layer(config, number, self._device) if not known.position else (None, 0)
        # With rotary positions the last layer's queries would need them too: not worth a second way there.
        cut = self._firsts_only and number == count - 1 and rotary is None
        parts = tuple(prefix + name for name in known.qkv)
        return _Layer(
            qkv=self._dense(parts[1:] if cut else parts),
            query=self._dense(parts[:1]) if cut else None,
            out=self._dense((prefix + known.out,)),
            norm1=self._norm(prefix + known.norm1, optional=known.pre_norm),
            up=self._dense((prefix + known.up,), "" if known.gated else self._after_up),
            down=self._dense((prefix + known.down,)),
            norm2=self._norm(prefix + known.norm2),
            sum1=self._add_norm(prefix + known.norm1),
            sum2=self._add_norm(prefix + known.norm2),
            window=window,
            rotary=rotary,
        )

    def _has(self, name: str) -> bool:
        return self._weights.base(f"{name}.weight", needed=False) is not None

    def _table(self, name: str) -> torch.Tensor:
        tensor = self._weights.base(f"{name}.weight")
        if tensor is None:
            return torch.zeros(2, 1)
        return tensor.to(self._device, self._dtype)

    def _norm(self, name: str, *, whole: bool = False, optional: bool = False) -> Norm:
        get = self._weights.get if whole else self._weights.base
        weight, bias = (
            get(f"{name}.weight", needed=not optional),
            get(f"{name}.bias", needed=not self._known.pre_norm),
        )
        if weight is None:
            return lambda x: x
        w = weight.to(self._device, self._dtype).clone()
        b = None if bias is None else bias.to(self._device, self._dtype).clone()
        eps = self._eps
        return lambda x: functional.layer_norm(x, w.shape, w, b, eps)

    def _add_norm(self, name: str) -> AddNorm:
        weight, bias = (self._weights.base(f"{name}.{part}", needed=False) for part in ("weight", "bias"))
        if weight is None:
            return lambda a, b: a + b
        w = weight.to(self._device, self._dtype).clone()
        return make_add_norm(
            w, None if bias is None else bias.to(self._device, self._dtype).clone(), self._eps
        )

    def _dense(self, names: tuple[str, ...], after: str = "", *, whole: bool = False) -> Dense:
        get = self._weights.get if whole else self._weights.base
        weights = [get(f"{name}.weight") for name in names]
        # Only ModernBERT's layers may be without bias; elsewhere a lacking bias is a lacking tensor.
        biases = [get(f"{name}.bias", needed=not self._known.pre_norm) for name in names]
        found = [w.to(self._device, self._dtype) for w in weights if w is not None]
        if len(found) < len(names):
            return lambda x: x
        offsets = [b.to(self._device, self._dtype) for b in biases if b is not None]
        if offsets and len(offsets) < len(names):
            return lambda x: x
        weight = found[0] if len(found) == 1 else torch.cat(found)
        bias = None if not offsets else (offsets[0] if len(offsets) == 1 else torch.cat(offsets))
        return make_dense(weight, bias, after)

    def _step(self, step: HeadStep) -> Callable[[torch.Tensor], torch.Tensor]:
        name, after = step
        if after == "norm":
            return self._norm(name, whole=True)
        return self._dense((name,), after, whole=True)


def _mean(x: torch.Tensor, layout: Layout) -> torch.Tensor:
    """x (rows, size) -> (sequences, size): the mean of each sequence's rows."""
    sums = [x[a:b].float().mean(0) for a, b in zip(layout.bounds, layout.bounds[1:], strict=False)]
    return torch.stack(sums)
