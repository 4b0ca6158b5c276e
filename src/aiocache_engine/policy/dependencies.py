"""Which archives go with what a clean names: what that needed or had in it, and nothing else uses or needs.

A name keeps none of them: whether somebody fetched one for its own sake is not known. All else does: an environment
outside or in the cache, running work, and an archive that stays and needs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from aiocache_engine.model.removal import KeepCode, KeepReason, Kept, VersionMatch
from aiocache_engine.model.snapshot import SeenArchive, Snapshot
from aiocache_engine.policy.mark import Marks, by_environment


class Dependencies:
    """The dependencies of what goes from a snapshot in any case."""

    def __init__(self, snapshot: Snapshot, marks: Marks, going: Collection[str], *, matches: VersionMatch) -> None:
        """Keep what is asked about.

        Args:
            snapshot: with the needs of all archives.
            marks: of the same snapshot.
            going: ids of what goes in any case.
            matches: tells whether a version is in a specifier set.
        """
        self._snapshot = snapshot
        self._marks = marks
        self._going = frozenset(going)
        self._matches = matches
        self._of_project: dict[str, list[SeenArchive]] = defaultdict(list)
        for archive in snapshot.archives.values():
            if archive.project is not None:
                self._of_project[archive.project].append(archive)

    def find(self) -> frozenset[str]:
        """Give the archives that what goes needs or contains, what these need, and so on; whoever else uses them."""
        found: set[str] = set()
        queue = [*self._going]
        while queue:
            fresh = {*self._inside(queue.pop())} - found - self._going
            found |= fresh
            queue += fresh
        return frozenset(found)

    def part(self, candidates: Collection[str]) -> tuple[frozenset[str], tuple[Kept, ...]]:
        """Part candidates: into the ids of those that nothing else uses or needs, and the others with what does."""
        archives = self._snapshot.archives
        free = {each for each in candidates if each in archives} - self._going
        needed_by = self._needed_by(free)
        reasons: dict[str, list[KeepReason]] = {}
        while staying := {each: why for each in free if (why := self._why(each, needed_by[each], free))}:
            reasons |= staying
            free -= staying.keys()
        kept = (Kept(archives[each], tuple(reasons[each]), is_condemned=False) for each in sorted(reasons))
        return frozenset(free), tuple(kept)

    def _inside(self, object_id: str) -> Iterator[str]:
        """Give what an environment contains, or what an archive needs, of what is there."""
        environment = self._snapshot.environments.get(object_id)
        if environment is not None:
            yield from (each.archive_id for each in self._marks.members(environment))
        for need in self._snapshot.needs.get(object_id, ()):
            for archive in self._of_project[need.project]:
                if archive.version is not None and self._matches(need.specifier, archive.version):
                    yield archive.id

    def _users(self, archive_id: str) -> list[KeepReason]:
        """Give who uses an archive but what goes and what runs in that."""
        containers = self._marks.containers(archive_id)
        going = {each.id for each in containers if each.id in self._going}
        others = [(each, self._marks.keep(each)) for each in containers if each.id not in going]
        return [
            *self._marks.leases(archive_id, unless_on=going),
            *self._marks.pins(archive_id),
            *self._marks.referrers(archive_id, symlinks_only=False),
            *(by_environment(each, kept) for each, kept in others if kept is not None),
        ]

    def _needed_by(self, candidates: Collection[str]) -> dict[str, list[SeenArchive]]:
        """Give the archives that need each candidate."""
        needed_by: dict[str, list[SeenArchive]] = {each: [] for each in candidates}
        for archive in self._snapshot.archives.values():
            for each in set(self._inside(archive.id)):
                if each in needed_by and archive.id not in self._going:
                    needed_by[each].append(archive)
        return needed_by

    def _why(self, archive_id: str, needed_by: list[SeenArchive], free: Collection[str]) -> list[KeepReason]:
        """Say what keeps an archive, if all that is free goes."""
        return [*self._users(archive_id), *(_by_need(each) for each in needed_by if each.id not in free)]


def _by_need(user: SeenArchive) -> KeepReason:
    return KeepReason(
        KeepCode.POINTER, via=(f"{user.project} {user.version}",), release=f"aioc clean {user.project} --deps"
    )
