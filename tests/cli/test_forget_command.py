"""`aioc forget`: an environment that is gone for good keeps nothing any more."""

from __future__ import annotations


def test_it_says_what_it_forgot_and_warns_where_something_may_break(aioc) -> None:
    assert aioc("install", "--no-deps", "tiny==1.0", "--venv", "env", "--link-mode", "copy").code == 0
    assert aioc("install", "--no-deps", "other", "--target", "lib", "--link-mode", "symlink").code == 0
    ran = aioc("forget", "env", "lib")
    assert (ran.code, ran.out) == (0, "forgotten: HOME/env\nforgotten: HOME/lib\n")
    assert ran.err == (
        "aioc: warning: HOME/lib is made of symbolic links: if it is still there, the next prune may break it\n"
    )
    assert aioc("prune").code == 0
    assert aioc("ls", "--json").document["entries"] == []


def test_what_is_not_known_is_one_line(aioc) -> None:
    assert aioc("install", "--no-deps", "tiny==1.0", "--venv", "env").code == 0
    ran = aioc("forget", "env2")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "aioc: error: the cache knows no environment 'env2'; `aioc prune` names those that it cannot reach\n"
    )
    assert aioc("forget").code == 2
    document = aioc("forget", "env", "--json").document
    assert (document["schema"], document["command"]) == ("aioc.done/1", "forget")
    assert [(each["kind"], each["path"]) for each in document["entries"]] == [("environment", "HOME/env")]
