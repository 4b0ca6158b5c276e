"""Which distributions an installation puts in, leaves, and takes out."""

from __future__ import annotations

import pytest

from aiocache_engine.errors import UsageError
from aiocache_engine.model.python import InstalledDistribution
from aiocache_engine.policy.install_plan import Wanted, plan_install


def there(project: str, version: str, archive_id: str | None = None) -> InstalledDistribution:
    return InstalledDistribution(project, version, f"/site/{project}-{version}.dist-info", archive_id, None)


def wanted(project: str, version: str, archive_id: str = "new", *, by_content: bool = False) -> Wanted:
    return Wanted(project, version, archive_id, by_content=by_content)


def test_what_is_missing_is_put_in_and_what_nobody_named_stays() -> None:
    plan = plan_install([wanted("a", "1")], [there("b", "1")], reinstall=False)
    assert (plan.install, plan.unchanged, plan.remove) == ((0,), (), ())


def test_another_version_makes_room() -> None:
    old = there("a", "1")
    plan = plan_install([wanted("a", "2")], [old], reinstall=False)
    assert ((0,), (), (old,)) == (plan.install, plan.unchanged, plan.remove)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.0"), ("1.0", "1.0.0"), ("2024.07.04", "2024.7.4"), ("1+a.b", "1+a_b")]
)
def test_the_same_version_stays_however_it_is_spelled(one: str, other: str) -> None:
    plan = plan_install([wanted("a", one)], [there("a", other)], reinstall=False)
    assert (plan.install, plan.unchanged, plan.remove) == ((), (0,), ())


def test_versions_that_follow_no_rule_are_compared_as_text() -> None:
    assert plan_install([wanted("a", "odd")], [there("a", "odder")], reinstall=False).install == (0,)
    assert plan_install([wanted("a", "odd")], [there("a", "odd")], reinstall=False).unchanged == (0,)


def test_reinstalling_takes_out_and_puts_in() -> None:
    old = there("a", "1", "new")
    plan = plan_install([wanted("a", "1")], [old], reinstall=True)
    assert ((0,), (old,)) == (plan.install, plan.remove)


def test_another_archive_of_the_same_version_counts_only_where_content_was_named() -> None:
    old = there("a", "1", "old")
    assert plan_install([wanted("a", "1")], [old], reinstall=False).unchanged == (0,)
    assert plan_install([wanted("a", "1", by_content=True)], [old], reinstall=False).install == (0,)
    assert plan_install([wanted("a", "1", "old", by_content=True)], [old], reinstall=False).unchanged == (0,)


def test_two_installed_copies_are_both_taken_out() -> None:
    copies = [there("a", "1"), there("a", "2")]
    plan = plan_install([wanted("a", "2")], copies, reinstall=False)
    assert ((0,), tuple(copies)) == (plan.install, plan.remove)


def test_a_project_is_wanted_once() -> None:
    with pytest.raises(UsageError, match="a is asked for twice"):
        plan_install([wanted("a", "1"), wanted("a", "2")], [], reinstall=False)
