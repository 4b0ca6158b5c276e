"""The text and document of a clean or prune, from plain values."""

from __future__ import annotations

from aiocache_engine.cli.render_removal import removal_document, removal_text, unmatched_text
from aiocache_engine.model.manifest import Totals
from aiocache_engine.model.removal import (
    CleanTarget,
    KeepCode,
    KeepReason,
    Kept,
    Removal,
    RemovalReason,
    Removed,
)
from aiocache_engine.model.snapshot import SeenArchive
from aiocache_engine.model.value import replace
from aiocache_engine.policy.prune import plan_prune
from snapshots import A, snapshot
from snapshots import archive as seen_archive
from snapshots import name as seen_name

ID = "0" * 32
HEAD = "PROJECT  VERSION  ENTRIES  FILES    SIZE   FREED  WHY"


def archive(project: str, version: str, size_bytes: int) -> SeenArchive:
    totals = Totals(
        project=project,
        version=version,
        filename=f"{project}-{version}-py3-none-any.whl",
        sha256="0" * 64,
        file_count=1,
        size_bytes=size_bytes,
        boot_id="",
    )
    return SeenArchive(ID, totals, b"", 0.0, is_linked=True)


def went(kind: str, project: str | None, version: str | None, freed_bytes: int) -> Removed:
    return Removed(kind, project, version, None, 2, 1000, freed_bytes, RemovalReason.NAMED)


def removal(**changes: object) -> Removal:
    values: dict[str, object] = {
        "command": "clean",
        "is_dry_run": False,
        "removed": (),
        "kept": (),
        "waited_seconds": 0.0,
        "longest_hold_seconds": 0.002,
        "warnings": (),
        "near_names": (),
    }
    return Removal(**(values | changes))  # type: ignore[arg-type]


LEASE = KeepReason(KeepCode.LEASE, "process 7 on here ends", pid=7, command="aioc install")
HARD_LINKED = KeepReason(KeepCode.REFERRER, "the environment goes: rm -r /env", path="/env", via=("hardlink",))
SYMLINKED = KeepReason(KeepCode.REFERRER, "the environment goes: rm -r /env", path="/env", via=("symlink",))
NAME = KeepReason(KeepCode.POINTER, "aioc clean a", path="/c/p")


def kept(project: str, *reasons: KeepReason) -> Kept:
    return Kept(archive(project, "1", 1000), reasons, is_condemned=False)


def test_a_table_has_a_line_per_project_and_the_last_line_says_what_was_freed() -> None:
    value = removal(
        removed=(went("archive", "b", "1", 0), went("archive", "b", "2", 500), went("pointer", "a", None, 4096))
    )
    assert removal_text(value, verbosity=0).splitlines() == [
        HEAD,
        "a                       1      2  1.0 kB  4.1 kB  named",
        "b        1, 2           2      4  2.0 kB   500 B  named",
        "Freed 4.6 kB (6 files)",
    ]


def test_names_and_leftovers_of_several_projects_have_lines_of_their_own() -> None:
    value = removal(removed=(went("pointer", None, None, 1), went("leftover", None, None, 1)))
    assert [line.split("  ")[0] for line in removal_text(value, verbosity=0).splitlines()] == [
        "PROJECT",
        "(leftovers)",
        "(names and pages)",
        "Freed 2 B (4 files)",
    ]


def test_where_files_may_share_their_bytes_the_figure_is_an_upper_bound() -> None:
    value = removal(removed=(went("archive", "a", "1", 5),), is_freed_exact=False, is_dry_run=True)
    assert removal_text(value, verbosity=0).splitlines()[-1] == "Would free up to 5 B (2 files)"
    assert removal_document(value)["summary"]["bytes_freed_exact"] is False


def test_whoever_uses_something_is_named_and_what_is_simply_kept_is_only_counted() -> None:
    value = removal(kept=(kept("b", NAME, LEASE), kept("a", NAME), kept("c", NAME, HARD_LINKED), kept("d", SYMLINKED)))
    assert removal_text(value, verbosity=0).splitlines() == [
        "kept: b 1 (1.0 kB) by process 7 (aioc install), until process 7 on here ends",
        "kept: d 1 (1.0 kB) by environment /env, until the environment goes: rm -r /env",
        "kept: 1 entry used by 1 environment (1.0 kB)",
        "kept: 1 entry to be used again (1.0 kB)",
        "Nothing to remove",
    ]


def test_what_only_a_used_environment_keeps_is_said_to_be_kept_by_it() -> None:
    inside = KeepReason(KeepCode.ENVIRONMENT, "process 7 ends", path="/e", via=("environment e", "running 7"))
    stays = replace(kept("a", inside), is_condemned=True)
    assert removal_text(removal(kept=(stays,)), verbosity=0).splitlines() == [
        "kept: a 1 (1.0 kB) by environment e, until process 7 ends",
        "Nothing to remove",
    ]


def test_verbose_names_every_reason_but_a_name_beside_a_better_one() -> None:
    value = removal(kept=(kept("a", NAME), kept("c", NAME, HARD_LINKED)))
    assert removal_text(value, verbosity=1).splitlines() == [
        "kept: a 1 (1.0 kB) by its name /c/p, until aioc clean a",
        "kept: c 1 (1.0 kB) by environment /env, until the environment goes: rm -r /env",
        "waited 0 ms, longest hold 2 ms",
        "Nothing to remove",
    ]


def test_what_is_kept_for_the_same_reasons_is_told_in_one_line_and_by_itself_with_verbose() -> None:
    many = [kept(f"p{number}", LEASE) for number in range(7)]
    report = removal(kept=(*many, kept("q", SYMLINKED)))
    told = removal_text(report, verbosity=0).splitlines()
    assert [line.partition(" by ")[0] for line in told[:2]] == [
        "kept: p0 1, p1 1, p2 1, p3 1, p4 1 and 2 more (7.0 kB)",
        "kept: q 1 (1.0 kB)",
    ]
    assert sum(line.startswith("kept: ") for line in removal_text(report, verbosity=1).splitlines()) == 8


def test_the_document_gives_every_reason_with_all_its_keys() -> None:
    (one,) = removal_document(removal(kept=(kept("a", LEASE),)))["kept"]
    assert (one["project"], one["version"], one["id"], one["bytes_logical"]) == ("a", "1", ID, 1000)
    assert one["reasons"] == [
        {
            "code": "lease",
            "pid": 7,
            "command": "aioc install",
            "path": None,
            "via": [],
            "release": "process 7 on here ends",
        }
    ]


def test_an_archive_without_a_readable_manifest_is_called_by_its_id() -> None:
    unreadable = Kept(SeenArchive(ID, None, b"", 0.0, is_linked=False), (LEASE,), is_condemned=True)
    assert removal_text(removal(kept=(unreadable,)), verbosity=0).startswith(f"kept: {ID} (0 B) by process 7 ")
    assert removal_document(removal(kept=(unreadable,)))["kept"][0]["project"] is None


def test_what_matched_nothing_is_said_with_its_specifier() -> None:
    targets = (CleanTarget("torch", "<2"), CleanTarget("rihc", None))
    assert unmatched_text(removal(unmatched=targets)) == "nothing in the cache matches torch<2, rihc"
    assert unmatched_text(removal(unmatched=targets, near_names=("rich",))).endswith("rihc; near names: rich")


def test_what_cannot_be_read_keeps_until_something_happens_to_it_in_one_sentence() -> None:
    seen = replace(
        snapshot(seen_archive(A), seen_name(A)),
        unreadable_pins=("/c/pin",),
        unreadable_referrers=("/c/new",),
        damaged_referrers=("/c/odd one",),
    )
    (stays,) = plan_prune(seen).kept
    told = removal_text(removal(kept=(stays,)), verbosity=0)
    assert "by /c/pin, which cannot be read, until the newer aioc that made this pin takes it off, or rm /c/pin" in told
    assert "/c/new, which cannot be read, until the newer aioc that wrote it is used, or rm /c/new" in told
    damaged = "/c/odd one, which cannot be read, until rm '/c/odd one', if no environment made with --link-mode symlink"
    assert damaged in told
