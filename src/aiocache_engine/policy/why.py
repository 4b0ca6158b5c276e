"""Answer why something is still in the cache, from the plan of the prune that would come next."""

from __future__ import annotations

from collections.abc import Callable

from aiocache_engine.model.removal import KeepCode, KeepReason, RemovalPlan
from aiocache_engine.model.snapshot import SeenArchive, SeenObject
from aiocache_engine.model.why import Explanation, Question

VersionMatch = Callable[[str, str], bool]  #: (specifier set, version) -> whether it matches


def explain(plan: RemovalPlan, question: Question, *, matches: VersionMatch) -> tuple[Explanation, ...]:
    """Tell of every entry that is meant what keeps it, or why it would go; cached environments last."""
    answers = [Explanation(kept.object, kept.reasons, None) for kept in plan.kept]
    answers += [Explanation(item.object, (), item.reason) for item in plan.objects]
    meant = [each for each in answers if _is_meant(each, question, matches)]
    return tuple(sorted(meant, key=_place))


def _is_meant(answer: Explanation, question: Question, matches: VersionMatch) -> bool:
    seen = answer.object
    return (
        seen.id == question.object_id
        or (question.tool is not None and seen.tool == question.tool)
        or any(_is_of(reason, path) for reason in answer.reasons for path in question.paths)
        or any(
            project == question.project and (question.specifier is None or matches(question.specifier, version))
            for project, version in _contents(seen)
        )
    )


def _contents(seen: SeenObject) -> list[tuple[str, str]]:
    if isinstance(seen, SeenArchive):
        return [(seen.totals.project, seen.totals.version)] if seen.totals is not None else []
    return [(each.project, each.version) for each in seen.manifest.members] if seen.manifest is not None else []


def _is_of(reason: KeepReason, path: str) -> bool:
    """Tell whether a reason is the environment outside that is at a path or around it."""
    return reason.code is KeepCode.REFERRER and f"{path}/".startswith(f"{reason.path}/")


def _place(answer: Explanation) -> tuple[bool, str, str, str]:
    seen = answer.object
    return seen.kind == "environment", seen.project or seen.tool or "", seen.version or "", seen.id
