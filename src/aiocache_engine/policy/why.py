"""Answer why something is still in the cache, from the plan of the prune that would come next."""

from __future__ import annotations

from aiocache_engine.model.removal import (
    KeepCode,
    KeepReason,
    RemovalPlan,
    RemovalReason,
    StoredSdist,
    VersionMatch,
)
from aiocache_engine.model.snapshot import PageKind, SeenArchive, SeenObject
from aiocache_engine.model.why import Explanation, Question
from aiocache_engine.policy.mark import stored_sdist

_Entry = SeenObject | StoredSdist
_Answer = tuple[_Entry, tuple[KeepReason, ...], RemovalReason | None]  #: the parts of an explanation


def explain(plan: RemovalPlan, question: Question, *, matches: VersionMatch) -> tuple[Explanation, ...]:
    """Tell of every entry that is meant what keeps it, or why it would go; cached environments last."""
    answers: list[_Answer] = [(kept.object, kept.reasons, None) for kept in plan.kept]
    answers += [(kept.object, kept.reasons, None) for kept in plan.sdists]
    answers += [(item.object, (), item.reason) for item in plan.objects]
    answers += [(stored_sdist(item.page), (), item.reason) for item in plan.pages if item.page.kind is PageKind.SDIST]
    meant = [each for each in answers if _is_meant(each, question, matches)]
    return tuple(Explanation(*each) for each in sorted(meant, key=lambda answer: _place(answer[0])))


def _is_meant(answer: _Answer, question: Question, matches: VersionMatch) -> bool:
    seen, reasons, _ = answer
    if isinstance(seen, StoredSdist) and seen.path in question.paths:
        return True
    return (
        (seen.id is not None and seen.id in (question.object_id, *question.named))
        or (question.tool is not None and seen.tool == question.tool)
        or any(_is_of(reason, path) for reason in reasons for path in question.paths)
        or any(
            project == question.project and (question.specifier is None or matches(question.specifier, version))
            for project, version in _contents(seen)
        )
    )


def _contents(seen: _Entry) -> list[tuple[str, str]]:
    if isinstance(seen, StoredSdist):
        return [(seen.project, seen.version or "")]
    if isinstance(seen, SeenArchive):
        return [(seen.totals.project, seen.totals.version)] if seen.totals is not None else []
    return [(each.project, each.version) for each in seen.manifest.members] if seen.manifest is not None else []


def _is_of(reason: KeepReason, path: str) -> bool:
    """Tell whether a reason is the environment outside that is at a path or around it."""
    return reason.code is KeepCode.REFERRER and f"{path}/".startswith(f"{reason.path}/")


def _place(seen: _Entry) -> tuple[bool, str, str, str, str]:
    called = seen.path if isinstance(seen, StoredSdist) else seen.id
    return seen.kind == "environment", seen.project or seen.tool or "", seen.version or "", seen.kind, called
