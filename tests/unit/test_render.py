"""The texts and documents of reports, from plain values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiocache_engine.cli.render import fetch_document, fetch_text, install_document, install_text
from aiocache_engine.cli.render_listing import size_text, usage_document, usage_text
from aiocache_engine.cli.render_pins import pins_document, pins_text
from aiocache_engine.cli.terminal import message_of, printable
from aiocache_engine.cli.units import count_of, duration_of, parse_age, parse_size, size_of, table, utc
from aiocache_engine.cli.values import count, seconds
from aiocache_engine.errors import ProjectNotFoundError
from aiocache_engine.model.listing import CacheSize, LeaseInfo, LockInfo, ProcessInfo, Usage
from aiocache_engine.model.outcome import FetchReport, InstallReport, Named, Obtained
from aiocache_engine.model.records import Member, Pin

ID = "0" * 32


def installed(**changes: object) -> InstallReport:
    values: dict[str, object] = {
        "target": "/env",
        "is_target_new": False,
        "is_dry_run": False,
        "installed": (Obtained("b", "2", ID, "index"), Obtained("a", "1", ID, "cache")),
        "removed": (Named("b", "1"), Named("c", "3")),
        "unchanged": (Named("d", "4"),),
        "link_mode": "hardlink",
        "warnings": (),
        "resolve_seconds": 0.1,
        "fetch_seconds": 1.0,
        "link_seconds": 0.01,
        "total_seconds": 75.0,
    }
    return InstallReport(**(values | changes))  # type: ignore[arg-type]


def test_changes_are_listed_by_project_the_old_before_the_new() -> None:
    assert install_text(installed(), place="environment", verbosity=0) == (
        "Installed 2 distributions into /env in 1 min 15 s\n"
        " + a 1\n - b 1\n + b 2\n - c 3\n"
        "1 distribution already there"
    )


def test_a_dry_run_says_would_and_gives_no_times() -> None:
    report = installed(is_dry_run=True, is_target_new=True, unchanged=(), removed=())
    assert install_text(report, place="directory", verbosity=2) == (
        "Would make the directory /env\nWould install 2 distributions into /env\n + a 1\n + b 2"
    )
    assert install_document(report)["target_created"] is False


def test_nothing_to_do_is_said() -> None:
    nothing = installed(installed=(), removed=(), unchanged=())
    assert install_text(nothing, place="environment", verbosity=0) == "Nothing to install"
    assert fetch_text(FetchReport((), 0.0, 0.0, 0.0), verbosity=0) == "Nothing to fetch"


def test_text_and_document_of_an_installation_come_from_the_same_values() -> None:
    document = install_document(installed(warnings=("w",)))
    assert document["installed"] == [
        {"name": "b", "version": "2", "archive": ID, "from": "index"},
        {"name": "a", "version": "1", "archive": ID, "from": "cache"},
    ]
    assert document["removed"] == [{"name": "b", "version": "1"}, {"name": "c", "version": "3"}]
    assert document["warnings"] == ["w"]
    assert document["seconds"] == {"resolve": 0.1, "fetch": 1.0, "link": 0.01, "total": 75.0}


def test_a_fetch_tells_what_came_from_what_was_there() -> None:
    report = FetchReport((Obtained("b", "2", ID, "index"), Obtained("a", "1", ID, "cache")), 0.1, 0.2, 0.3)
    assert fetch_text(report, verbosity=0) == "Fetched 1 wheel in 300 ms\n + b 2\n1 wheel already in the cache"
    assert [each["from"] for each in fetch_document(report)["fetched"]] == ["index", "cache"]


def test_a_lease_that_cannot_be_read_is_listed_all_the_same() -> None:
    usage = Usage(
        (
            LeaseInfo(ID, None, None, None, None, 0),
            LeaseInfo(ID, 8, "aioc run x", None, None, 0, is_of_newer_release=True),
        ),
        (LockInfo("/c/.locks/cache.lock", "shared", 7, "aioc ls"),),
    )
    consequence = "what it covers is unknown, so everything is kept until it ends"
    assert usage_text(usage, verbosity=0).splitlines() == [
        "PID  SINCE  OBJECTS  SIZE  COMMAND",
        "  ?  ?            ?     ?  (unknown)",
        "  8  ?            ?     ?  aioc run x",
        f"? The lease {ID} is damaged or of a newer aioc: {consequence}",
        f"? The lease {ID} was written by a newer aioc: {consequence}",
        "",
        "LOCK    PID  COMMAND  FILE",
        "shared    7  aioc ls  /c/.locks/cache.lock",
    ]
    damaged, newer = usage_document(usage)["leases"]
    assert (damaged["since"], damaged["objects"], damaged["objects_known"]) == (None, [], False)
    assert (damaged["newer_release"], newer["newer_release"]) == (False, True)


def test_a_process_without_a_lease_is_listed_with_the_environment_that_it_lives_in() -> None:
    usage = Usage((), (), (ProcessInfo(7, "python late.py", ID),))
    assert usage_text(usage, verbosity=0).splitlines() == [
        "PID  LIVES IN ENVIRONMENT              COMMAND",
        f"  7  {ID}  python late.py",
    ]
    assert usage_document(usage)["processes"] == [{"pid": 7, "command": "python late.py", "environment": ID}]


def test_a_pin_tells_which_of_its_archives_are_gone() -> None:
    pin = Pin("mine", (Member("a", "1", ID), Member("b", "2", "1" * 32)), 0.0)
    assert pins_text([pin], gone={ID}) == "mine: a 1 (gone), b 2"
    assert [each["present"] for each in pins_document("pin", [pin], gone={ID})["entries"]] == [False, True]


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_age, "9" * 5000 + "d"), (parse_size, "9" * 5000 + "GB"), (count, "9" * 5000), (seconds, "9" * 5000)],
)
def test_a_number_that_nobody_means_is_refused_with_its_beginning(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(ValueError, match=r"^'9{40}…' is (no age; use|no size; use|no number from 1|not a number of)"):
        parse(text)


def test_a_size_is_one_line() -> None:
    assert size_text(CacheSize(1_250_000, 1, 1, {"archives": 1_250_000})) == "1.2 MB in 1 file of 1 entry"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (20_000_000_000, "20.0 GB"),
        (5_000_000_000_000_000, "5000.0 TB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(size_bytes: int, text: str) -> None:
    assert size_of(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 ms"), (0.0354, "35 ms"), (1.25, "1.2 s"), (60.0, "1 min 0 s"), (119.6, "2 min 0 s")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration_of(seconds) == text


def test_counts_times_and_tables() -> None:
    assert [count_of(1, "file"), count_of(2, "file"), count_of(0, "entry", "entries")] == [
        "1 file",
        "2 files",
        "0 entries",
    ]
    assert [utc(1_767_225_600.9), utc(None), utc(0.0)] == ["2026-01-01T00:00:00Z", None, None]
    assert table(["A", "B"], [["long", "1"], ["x", "10"]], right=(1,)) == ["A      B", "long   1", "x     10"]


def test_text_that_could_steer_a_terminal_is_shown_by_its_codes() -> None:
    assert printable("plain é 日本") == "plain é 日本"
    assert printable("a\x1b[2Jb\nc\udcff") == "a\\x1b[2Jb\\nc\\udcff"


def test_messages_are_one_line_and_only_the_unexpected_names_the_way_to_a_traceback() -> None:
    assert message_of(ProjectNotFoundError("x", ("http://a/", "http://b/"))).startswith("x was not found in http://a/")
    assert message_of(KeyError()) == "unexpected KeyError; set AIOC_DEBUG=1 for the traceback"
    assert message_of(KeyboardInterrupt()) == "interrupted"
