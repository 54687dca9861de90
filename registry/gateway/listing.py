"""What a client asks without naming a model: who am I, and which models are there."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Count, Min, OuterRef, Subquery
from django.http import HttpRequest, HttpResponseBase

from registry import consumption
from registry.actors import Actor
from registry.enums import ApprovalStatus
from registry.gateway.door import caller, hub_view, token_actor
from registry.gateway.payloads import flag, head_of, json_answer, number, when
from registry.models import ApiToken, Approval, Channel, RegisteredModel


@hub_view("get")
def agent_harnesses(request: HttpRequest) -> HttpResponseBase:
    """The first request of every client process, sent without a token. A list here would crash the client."""
    return json_answer({"standardEnvVars": [], "harnesses": {}})


@hub_view("get")
def whoami(request: HttpRequest) -> HttpResponseBase:
    actor = token_actor(request)
    row = ApiToken.objects.filter(public_id=actor.token_id).only("name", "created_at").first()
    token = {
        "displayName": row.name if row else "",
        "role": "read",
        "createdAt": when(row.created_at) if row else None,
    }
    orgs = [{"type": "org", "name": actor.team.slug, "fullname": actor.team.name}] if actor.team else []
    return json_answer(
        {
            "type": "user",
            "id": str(actor.user.pk),
            "name": actor.user.username,
            "fullname": actor.user.display_name,
            "email": None,
            "isPro": False,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


PAGE = 1000
LISTED = (
    "_id",
    "id",
    "modelId",
    "likes",
    "downloads",
    "private",
    "tags",
    "createdAt",
    "pipeline_tag",
    "library_name",
)
LISTED_FULL = ("author", "sha", "lastModified", "gated", "disabled", "siblings")


@hub_view("get")
def list_models(request: HttpRequest) -> HttpResponseBase:
    """Models of the team that `main` serves. Four queries, whatever their number on the page."""
    actor, query = caller(request), request.GET
    limit, start = number(query.get("limit"), PAGE, 1, PAGE), number(query.get("cursor"), 0, 0, 10**9)
    wanted = {
        tag
        for part in query.getlist("filter") + query.getlist("pipeline_tag")
        for tag in part.split(",")
        if tag
    }
    infos = []
    for approval in _mains(actor, query.get("search", "").replace("\0", "")):
        info = head_of(approval.revision, approval)
        if query.get("author", info["author"]) == info["author"] and wanted <= set(info["tags"]):
            info["siblings"] = []
            infos.append(info)
    order = query.get("sort", "")
    if order in ("createdAt", "lastModified"):
        infos.sort(key=lambda info: str(info[order]), reverse=query.get("direction", "-1") != "1")
    keys: tuple[str, ...] = LISTED + (LISTED_FULL if flag(query.get("full")) else ())
    keys += tuple(key for key in ("cardData", "config") if flag(query.get(key)))
    if expand := query.getlist("expand"):
        keys = ("_id", "id", *expand)
    answer = json_answer(
        [{key: info[key] for key in keys if key in info} for info in infos[start : start + limit]]
    )
    if start + limit < len(infos):
        more = query.copy()
        more["cursor"] = str(start + limit)
        answer["Link"] = f'<{settings.PUBLIC_URL}/hub/api/models?{more.urlencode()}>; rel="next"'
    return answer


def _mains(actor: Actor, search: str) -> list[Approval]:
    """For each model of the team what `main` stands for, by the rules of `consumption.approved`, in three queries.

    A model may have thousands of approvals, of which one is listed at most: they are counted in the database, and only of
    models whose channel `production` does not already say which one.
    """
    models = RegisteredModel.objects.filter(team=actor.team)
    if search:
        models = models.filter(model_id__icontains=search)
    live = Channel.objects.filter(model=OuterRef("pk"), name=consumption.DEFAULT_CHANNEL).values("current")
    production: dict[int, int | None] = dict(models.annotate(live=Subquery(live)).values_list("pk", "live"))
    undecided = [model for model, current in production.items() if current is None]
    rows = consumption.living(Approval.objects.all())
    alone = (
        rows.filter(status=ApprovalStatus.ACTIVE, model__in=undecided)
        .order_by()
        .values("model")
        .annotate(several=Count("pk"), only=Min("pk"))
        .filter(several=1)
        .values_list("only", flat=True)
    )
    listed = [*(current for current in production.values() if current is not None), *alone]
    return list(
        rows.filter(pk__in=listed)
        .select_related("model", "revision__model")
        .defer("revision__card_text", "revision__findings")
        .order_by("model__model_id", "pk")
    )
