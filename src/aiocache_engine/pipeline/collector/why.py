"""Understand what `why` is asked about: a project or version, an id, or a path in the cache dir or an environment."""

from __future__ import annotations

import os
from functools import partial

from aiocache_engine.config import absolute
from aiocache_engine.model.names import is_object_id, is_sdist
from aiocache_engine.model.removal import CleanTarget, KeepCode, KeepReason, PrunePolicy, RemovalPlan, RemovalReason
from aiocache_engine.model.snapshot import PageKind
from aiocache_engine.model.why import Explanation, Question, StoredPages
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import parse_clean_target
from aiocache_engine.pipeline.steps import Outside, Steps
from aiocache_engine.policy.why import explain
from aiocache_engine.python.environment import environment_id
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.environments import read_environment_pointer
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.name_choice import (
    directories_of,
    environment_names,
    may_be_pointer,
    page_kind,
    pointers_of,
    stored_for,
)
from aiocache_engine.store.stored_pages import size_of_page


def why(cache: CacheDir, what: str, policy: PrunePolicy) -> Steps[tuple[Explanation, ...]]:
    """Tell what keeps what is named, and what a prune with this policy would take. Touches nothing.

    Raises:
        InvalidRequirementError: it is neither path nor id, and no project name with a version specifier.
    """
    question: Question = yield Outside(lambda: understand(cache, what))
    plan = yield from Collector(cache, names_every_process=True).plan_prune(policy)
    answers = explain(plan, question, matches=version_matches)
    if answers or question.project is None or question.specifier is not None:
        return answers
    pages: StoredPages | None = yield Outside(partial(_pages, cache.layout, question.project))
    if pages is None:
        return ()
    answer: Explanation = yield Outside(partial(_about_pages, cache.layout, pages, plan))
    return (answer,)


def _pages(layout: Layout, project: str) -> StoredPages | None:
    paths = [path for index, path in stored_for(f"{layout.projects}/{project}") if not may_be_pointer(index, path)]
    return StoredPages(project, sum(map(size_of_page, paths))) if paths else None


def _staying_log(layout: Layout, project: str, plan: RemovalPlan) -> str | None:
    """Give the path of a log that is stored for a project and stays."""
    going = {item.page.path for item in plan.pages}
    files = stored_for(f"{layout.projects}/{project}")
    return next((p for index, p in files if page_kind(index, p) is PageKind.LOG and p not in going), None)


def _about_pages(layout: Layout, pages: StoredPages, plan: RemovalPlan) -> Explanation:
    if pages.project in plan.projects:
        return Explanation(pages, (), RemovalReason.UNREACHABLE)
    if (log := _staying_log(layout, pages.project, plan)) is not None:
        kept = KeepReason(KeepCode.POINTER, path=log, release=f"aioc clean {pages.project}")
        return Explanation(pages, (kept,), None)
    kept = KeepReason(KeepCode.RECENTLY_USED, release="nobody used it for as long as AIOC_UNUSED_FOR says")
    return Explanation(pages, (kept,), None)


def understand(cache: CacheDir, what: str) -> Question:
    """Tell whether a text is a path, an id, or a project with or without a version specifier."""
    if os.sep in what or what in (os.curdir, os.pardir):
        return _at(cache, what)
    if is_object_id(what):
        return Question(object_id=what)
    if environment_id(what) is not None and not os.path.isdir(os.path.join(cache.layout.projects, what)):
        return _at(cache, what)  # its name alone, as one types it beside it
    target = parse_clean_target(what)
    return Question(project=target.project, specifier=target.specifier, named=_named(cache.layout, target))


def _named(layout: Layout, target: CleanTarget) -> frozenset[str]:
    """Give the ids that names of a project, or of versions of it, lead to: archives, and environments with them."""

    def is_meant(project: str, version: str) -> bool:
        return project == target.project and (target.specifier is None or version_matches(target.specifier, version))

    found: set[str] = set()
    for directory in directories_of(layout, target.project):
        found |= {p.archive_id for _, p in pointers_of(layout, directory) if is_meant(p.project, p.version)}
    for pointer in filter(None, map(read_environment_pointer, environment_names(layout))):
        if any(is_meant(member.project, member.version) for member in pointer.members):
            found.add(pointer.environment_id)
    return frozenset(found)


def _at(cache: CacheDir, path: str) -> Question:
    """Ask about what is at a path. A link into the cache dir, as symlinked environments have, asks about its target."""
    layout = cache.layout
    places = tuple(dict.fromkeys((absolute(path), os.path.realpath(path))))
    for place in places:
        for bucket in (layout.archives, layout.environments, layout.bytecodes, layout.projects, layout.tools):
            if not place.startswith(f"{bucket}/"):
                continue
            key = place.removeprefix(f"{bucket}/").partition("/")[0]
            if bucket == layout.projects:
                return Question(paths=places) if is_sdist(place) else Question(project=key)
            return Question(tool=key) if bucket == layout.tools else Question(object_id=key)
        if place.startswith(f"{layout.overlays}/"):
            project = f"{place.removeprefix(f'{layout.overlays}/')}/".split("/")[1]
            return Question(project=project) if project else Question(paths=places)
        if place.startswith(f"{layout.builds}/") and (pointer := read_environment_pointer(place)) is not None:
            return Question(object_id=pointer.environment_id)
    return Question(paths=places)
