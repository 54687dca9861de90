"""Asking for benchmarks and evaluations of a revision."""

from __future__ import annotations

from django.db import transaction

from inference.evaluations import check_labels
from inference.models import GoldenSet
from registry import jobs
from registry.actors import Actor
from registry.enums import JobKind
from registry.exceptions import NotFound
from registry.models import Job, Revision
from registry.permissions import Action, check
from registry.words import gettext

BENCHMARK = {"batch_sizes": [1, 8, 16], "max_lengths": [64, 128, 256], "repeats": 20, "warmup": 3}


@transaction.atomic
def request_benchmark(*, actor: Actor, revision: Revision) -> Job:
    """A benchmark on this machine's hardware; an open one of the same revision is joined."""
    check(actor, Action.RUN_MEASUREMENT)
    return _benchmark(actor, revision)


@transaction.atomic
def request_evaluation(*, actor: Actor, revision: Revision, golden_set: GoldenSet) -> Job:
    """A golden-set evaluation. Raises NotFound (another model's set), InvalidInput (labels that cannot match)."""
    check(actor, Action.RUN_MEASUREMENT)
    if golden_set.team_id != revision.model.team_id or golden_set.model_id != revision.model.model_id:
        raise NotFound(
            gettext(
                "%(golden_set)s is not a golden set of %(model_id)s.",
                golden_set=golden_set.name,
                model_id=revision.model.model_id,
            )
        )
    check_labels(revision, golden_set)
    return _evaluation(actor, revision, golden_set)


@transaction.atomic
def request_measurements(*, actor: Actor, revision: Revision) -> list[Job]:
    """What a review needs: a benchmark, and an evaluation on each golden set of the model. No role is asked: the system
    measures every revision that enters a review. Sets whose labels cannot match fail as visible runs."""
    sets = GoldenSet.objects.filter(team=revision.model.team, model_id=revision.model.model_id)
    return [_benchmark(actor, revision), *(_evaluation(actor, revision, s) for s in sets)]


def _benchmark(actor: Actor, revision: Revision) -> Job:
    job, _ = jobs.enqueue(
        actor=actor,
        team=revision.model.team,
        kind=JobKind.BENCHMARK,
        subject=f"revision:{revision.pk}:benchmark",
        title=f"Benchmark of {revision}",
        params={"revision": revision.pk, **BENCHMARK},
    )
    return job


def _evaluation(actor: Actor, revision: Revision, golden_set: GoldenSet) -> Job:
    job, _ = jobs.enqueue(
        actor=actor,
        team=revision.model.team,
        kind=JobKind.EVALUATION,
        subject=f"revision:{revision.pk}:evaluation:{golden_set.pk}",
        title=f"Evaluation of {revision} on {golden_set.name}",
        params={"revision": revision.pk, "golden_set": golden_set.pk},
    )
    return job
