"""Snapshots for tests of decisions: what a scan might have seen, put together from parts, and drawn at random."""

from __future__ import annotations

from hypothesis import strategies as st

from aiocache_engine.model.manifest import Totals
from aiocache_engine.model.records import (
    EnvironmentManifest,
    EnvironmentPointer,
    Holder,
    Member,
    NameKind,
    Pin,
    Pointer,
    Referrer,
)
from aiocache_engine.model.snapshot import (
    PageKind,
    ReferrerState,
    SeenArchive,
    SeenEnvironment,
    SeenLease,
    SeenName,
    SeenPage,
    SeenProcess,
    SeenReferrer,
    SeenTool,
    Snapshot,
)

A, B, C = "a" * 32, "b" * 32, "c" * 32  #: archives
E, F, G = "e" * 32, "f" * 32, "0" * 32  #: cached environments
PROJECT = {A: "tiny", B: "big", C: "odd"}
NOW = 1_000_000.0
HOLDER = Holder(7, 0.0, "host", "machine", "boot", None, "aioc run tiny", 0.0)

Seen = SeenArchive | SeenEnvironment | SeenTool | SeenName | SeenLease | SeenReferrer | SeenPage | Pin


def archive(archive_id: str, *, is_linked: bool = True, age: float = 0.0) -> SeenArchive:
    """An archive, last used `age` seconds ago."""
    project = PROJECT[archive_id]
    totals = Totals(project, "1.0", f"{project}-1.0-py3-none-any.whl", archive_id * 2, 1, 10, "boot")
    return SeenArchive(archive_id, totals, archive_id.encode(), NOW - age, is_linked)


def members(*archive_ids: str) -> tuple[Member, ...]:
    return tuple(Member(PROJECT[each], "1.0", each) for each in archive_ids)


def environment(
    environment_id: str,
    *archive_ids: str,
    is_readable: bool = True,
    age: float = 0.0,
    is_new: bool = False,
    name: str = "tiny",
) -> SeenEnvironment:
    """A cached environment of a tool, or without its name for builds."""
    manifest = EnvironmentManifest(name, "d" * 32, "/python", members(*archive_ids), 1, 10, 0, is_cloned=False)
    seen = manifest if is_readable else None
    return SeenEnvironment(
        environment_id, f"/{environment_id}", seen, environment_id.encode(), NOW - age, is_new=is_new
    )


def tool(
    environment_id: str,
    *archive_ids: str,
    is_runnable: bool = True,
    digest: str = "d" * 32,
    created_at: float = 1.0,
    executable: str = "/python",
    name: str = "tiny",
) -> SeenTool:
    pointer = EnvironmentPointer(environment_id, name, digest, executable, members(*archive_ids), (), created_at)
    path = f"/tools-v1/{name}/{digest}.json" if name else f"/builds-v1/{digest}.json"
    return SeenTool(path, pointer, environment_id.encode(), (1, 1, 1), is_runnable)


def name(archive_id: str, kind: NameKind = NameKind.INDEX, overlay: str = "mine") -> SeenName:
    """A name of an archive; those of the kind are in the overlay."""
    pointer = Pointer(archive_id, PROJECT[archive_id], "1.0", "file.whl", archive_id * 2, "", "")
    path = f"/{kind.value}/{archive_id}"
    return SeenName(kind, path, pointer, archive_id.encode(), overlay if kind is NameKind.OVERLAY else "")


def page(project: str, *, age: float = 0.0, kind: PageKind = PageKind.PAGE, version: str | None = None) -> SeenPage:
    path = f"/projects-v1/{project}/0/{kind.value}-{version}-{age}"
    return SeenPage(path, project, NOW - age, kind, version)


def lease(*objects: str) -> SeenLease:
    return SeenLease("1" * 32, HOLDER, frozenset(objects))


def referrer(
    link_mode: str, *archive_ids: str, state: ReferrerState = ReferrerState.ALIVE, path: str = "/env"
) -> SeenReferrer:
    uses = dict.fromkeys(archive_ids, link_mode)
    record = Referrer("2" * 32, path, ("/env/site",), 1, 1, "machine", None, uses, 0.0, "stamp")
    return SeenReferrer(record, state, {} if state is ReferrerState.MISSING else uses)


def pin(*archive_ids: str) -> Pin:
    return Pin("mine", members(*archive_ids), 0.0)


def snapshot(*seen: Seen, running: tuple[str, ...] = ()) -> Snapshot:
    """Put together what was seen; in the environments of `running` a process was."""
    names = tuple(each for each in seen if isinstance(each, SeenName))
    pages = tuple(each for each in seen if isinstance(each, SeenPage))
    added = [each for each in names if each.overlay]
    return Snapshot(
        archives={each.id: each for each in seen if isinstance(each, SeenArchive)},
        names=names,
        leases=tuple(each for each in seen if isinstance(each, SeenLease)),
        referrers=tuple(each for each in seen if isinstance(each, SeenReferrer)),
        unreadable_referrers=(),
        projects=frozenset({each.pointer.project for each in names} | {each.project for each in pages}),
        leftovers=(),
        environments={each.id: each for each in seen if isinstance(each, SeenEnvironment)},
        tools=tuple(each for each in seen if isinstance(each, SeenTool)),
        tool_directories=frozenset({"tiny"}),
        processes={each: (SeenProcess(9, "tiny"),) for each in running},
        pages=pages,
        overlays=frozenset(
            {each.overlay for each in added} | {f"{each.overlay}/{each.pointer.project}" for each in added}
        ),
        taken_at=NOW,
        pins=tuple(each for each in seen if isinstance(each, Pin)),
    )


ARCHIVES = st.sampled_from(list(PROJECT))
ENVIRONMENTS = st.sampled_from([E, F, G])
AGES = st.sampled_from([-50.0, 0.0, 99.0, 101.0, 500.0])
RARELY = st.sampled_from([False, False, False, True])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Anything that a scan might see of three archives and three environments."""
    archives = [
        archive(each, is_linked=draw(st.booleans()), age=draw(AGES)) for each in sorted(draw(st.sets(ARCHIVES)))
    ]
    inside = {each: sorted(draw(st.sets(ARCHIVES, max_size=3))) for each in sorted(draw(st.sets(ENVIRONMENTS)))}
    for_builds = {each for each in (E, F, G) if draw(RARELY)}
    environments = [
        environment(
            each,
            *inside[each],
            is_readable=not draw(RARELY),
            age=draw(AGES),
            is_new=draw(RARELY),
            name="" if each in for_builds else "tiny",
        )
        for each in inside
    ]
    names = [name(each, kind) for each, kind in sorted(draw(st.sets(NAMES)), key=str)]
    tools = [
        tool(
            each,
            *inside.get(each, ()),
            is_runnable=not draw(RARELY),
            digest=number * 32,
            created_at=draw(st.sampled_from([1.0, 2.0])),
            executable=draw(st.sampled_from(["/python", "/other"])),
            name="" if each in for_builds else "tiny",
        )
        for number, each in zip("123", draw(st.lists(ENVIRONMENTS, max_size=3)), strict=False)
    ]
    leases = [lease(*draw(st.sets(ARCHIVES | ENVIRONMENTS))) for _ in range(draw(st.integers(0, 1)))]
    modes = st.sampled_from(["symlink", "hardlink", "copy", "clone"])
    referrers = [
        referrer(draw(modes), *draw(st.sets(ARCHIVES)), state=draw(st.sampled_from(ReferrerState)))
        for _ in range(draw(st.integers(0, 1)))
    ]
    pages = [
        page(
            draw(st.sampled_from(["tiny", "big", "lost"])),
            age=draw(AGES),
            kind=draw(st.sampled_from(PageKind)),
            version=draw(st.sampled_from(["1.0", "2.0", None])),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    running = tuple(draw(st.sets(ENVIRONMENTS, max_size=1)) & inside.keys())
    pins = [pin(*sorted(draw(st.sets(ARCHIVES, min_size=1, max_size=2)))) for _ in range(draw(RARELY))]
    seen: list[Seen] = [*archives, *environments, *names, *tools, *leases, *referrers, *pages, *pins]
    return snapshot(*seen, running=running)


NAMES = st.tuples(ARCHIVES, st.sampled_from(NameKind))
