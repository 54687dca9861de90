"""The Triton kernel of `addnorm`: one program a row. Imported on CUDA only."""

import triton  # type: ignore[import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, unused-ignore]


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def add_norm(a, b, weight, bias, out, size, eps, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < size
    places = row * size + columns
    # The sum is rounded to the tensors' precision first, as two calls of torch would have it.
    both = tl.load(a + places, mask=inside, other=0.0) + tl.load(b + places, mask=inside, other=0.0)
    x = both.to(tl.float32)
    mean = tl.sum(x, axis=0) / size
    centred = tl.where(inside, x - mean, 0.0)
    variance = tl.sum(centred * centred, axis=0) / size
    scale = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)
    y = centred * (1.0 / tl.sqrt(variance + eps)) * scale + shift
    tl.store(out + places, y.to(out.dtype.element_ty), mask=inside)
