"""Understand what `why` is asked about: a project or version, an id, or a path in the cache dir or an environment."""

from __future__ import annotations

import os
from functools import partial

from aiocache_engine.config import absolute
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.removal import KeepCode, KeepReason, PrunePolicy, RemovalPlan, RemovalReason
from aiocache_engine.model.why import Explanation, Question, StoredPages
from aiocache_engine.pipeline.collector.collect import Collector
from aiocache_engine.pipeline.inputs.requirements import parse_clean_target
from aiocache_engine.pipeline.steps import Outside, Steps
from aiocache_engine.policy.why import explain
from aiocache_engine.store.cache_dir import CacheDir
from aiocache_engine.store.generations import version_matches
from aiocache_engine.store.layout import Layout
from aiocache_engine.store.name_choice import may_be_pointer, stored_for


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
    return () if pages is None else (_about_pages(pages, plan),)


def _pages(layout: Layout, project: str) -> StoredPages | None:
    paths = [path for index, path in stored_for(f"{layout.projects}/{project}") if not may_be_pointer(index, path)]
    return StoredPages(project, sum(map(_size_bytes, paths))) if paths else None


def _size_bytes(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def _about_pages(pages: StoredPages, plan: RemovalPlan) -> Explanation:
    if pages.project in plan.projects:
        return Explanation(pages, (), RemovalReason.UNREACHABLE)
    kept = KeepReason(KeepCode.RECENTLY_USED, release="nobody used it for as long as AIOC_UNUSED_FOR says")
    return Explanation(pages, (kept,), None)


def understand(cache: CacheDir, what: str) -> Question:
    """Tell whether a text is a path, an id, or a project with or without a version specifier."""
    if os.sep in what or what in (os.curdir, os.pardir):
        return _at(cache, what)
    if is_object_id(what):
        return Question(object_id=what)
    target = parse_clean_target(what)
    return Question(project=target.project, specifier=target.specifier)


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
                return Question(project=key)
            return Question(tool=key) if bucket == layout.tools else Question(object_id=key)
    return Question(paths=places)
