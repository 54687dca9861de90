"""Benchmark = speed. The worker's side: run the child on the pinned snapshot, hang the figures on the revision."""

from __future__ import annotations

from typing import Any

from inference.child import run_child
from inference.models import GoldenExample
from inference.publishing import publish_evidence
from registry.enums import EvidenceKind
from registry.jobs import Running
from registry.models import Revision

# Used when the team has no golden set: short, middle and long, Vietnamese and English, no customer's words.
FALLBACK_TEXTS = [
    "Fine.",
    "Giao hàng nhanh, đóng gói cẩn thận, sẽ ủng hộ shop tiếp.",
    "The handle came loose after two weeks and nobody answers my messages.",
    "Sản phẩm đúng mô tả nhưng pin yếu hơn quảng cáo, dùng nửa ngày đã phải sạc, mong shop xem lại giúp. "
    * 3,
    "I ordered it for my mother, she uses it every morning and says it is easier than the old one. " * 6,
]
TEXTS = 64


def texts_for(revision: Revision) -> list[str]:
    """At most 64 texts of the lengths that the team's golden set has, else the fallback."""
    rows = GoldenExample.objects.filter(
        golden_set__team=revision.model.team, golden_set__model_id=revision.model.model_id
    ).order_by("golden_set_id", "number")
    return list(rows.values_list("inputs", flat=True)[:TEXTS]) or FALLBACK_TEXTS * 4


def run(running: Running) -> None:
    """The handler of benchmark jobs. params: {"revision": pk, "batch_sizes", "max_lengths", "repeats", "warmup"}."""
    params = running.job.params
    revision = Revision.objects.select_related("model__team").get(pk=params["revision"])
    data = run_child(
        running,
        revision,
        "benchmark",
        {
            "texts": texts_for(revision),
            "batch_sizes": params["batch_sizes"],
            "max_lengths": params["max_lengths"],
            "repeats": params["repeats"],
            "warmup": params["warmup"],
        },
    )
    publish_evidence(running, revision, EvidenceKind.BENCHMARK, data, summary(data))


def summary(data: dict[str, Any]) -> str:
    hardware = data["hardware"]
    return (
        f"p50 {data['latency_p50_ms']:.1f} ms, p95 {data['latency_p95_ms']:.1f} ms a text, "
        f"{data['throughput_texts_s']:.0f} texts/s, {data['max_rss_mb']:.0f} MB, cold start {data['cold_start_s']:.1f} s "
        f"on {hardware['device']} ({hardware['cores']} cores)"
    )[:300]
