"""Requirements files as pip reads them, and lock files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from aiocache_engine.errors import InvalidRequirementError, RequirementsFileError
from aiocache_engine.index.urls import direct_file, told_subdirectory
from aiocache_engine.model.python import Interpreter
from aiocache_engine.pipeline.inputs.requirements_file import FileOptions, Requested, read_requested
from aiocache_engine.python.interpreter import probe

HASH = "a" * 64
OTHER = "b" * 64


@pytest.fixture(scope="session")
def interpreter() -> Interpreter:
    return probe(sys.executable)


class Desk:
    """Writes files and reads them."""

    def __init__(self, root: Path, interpreter: Interpreter) -> None:
        self.root, self.interpreter = root, interpreter
        self.environ: dict[str, str] = {}

    def write(self, name: str, content: str | bytes) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def read(self, *files: str, requirements: tuple[str, ...] = (), **how: Any) -> Requested:
        return read_requested(requirements, files, interpreter=self.interpreter, environ=self.environ, **how)

    def texts(self, content: str | bytes) -> list[str]:
        return [each.text for each in self.read(self.write("requirements.txt", content)).roots]


@pytest.fixture
def desk(tmp_path: Path, interpreter: Interpreter) -> Desk:
    return Desk(tmp_path, interpreter)


def test_comments_blank_lines_and_continued_lines_are_understood(desk: Desk) -> None:
    assert desk.texts("# first\n\na==1.0  # why\nb \\\n  >=2 \\\n  ,<3\n") == ["a==1.0", "b   >=2   ,<3"]


def test_a_comment_ends_what_was_continued_into_it(desk: Desk) -> None:
    assert desk.texts("a==1.0\\\n# a comment\nb\n") == ["a==1.0", "b"]


def test_the_last_line_may_end_in_a_backslash(desk: Desk) -> None:
    assert desk.texts("a\nb \\") == ["a", "b"]


def test_extras_markers_and_origins_are_kept(desk: Desk) -> None:
    path = desk.write("requirements.txt", "\nA.b[X,y_Y]>=1; python_version>='3'\nno; python_version<'3'\n")
    (only,) = desk.read(path).roots
    assert (only.project, only.extras, only.specifier) == ("a-b", frozenset({"x", "y-y"}), ">=1")
    assert only.origin == f"{path}, line 2"


def test_variables_in_capitals_are_expanded_and_unknown_ones_stay(desk: Desk) -> None:
    desk.environ.update({"HERE_1": "/given", "here": "/x", "EMPTY": ""})
    path = desk.write(
        "r.txt", "${HERE_1}/a-1-py3-none-any.whl\n/${here}/$HERE_1/${EMPTY}/${GONE}/b-1-py3-none-any.whl\n"
    )
    assert [each.url for each in desk.read(path).roots] == [
        "/given/a-1-py3-none-any.whl",
        "/${here}/$HERE_1/${EMPTY}/${GONE}/b-1-py3-none-any.whl",
    ]
    (typed,) = desk.read(requirements=("/${HERE_1}/a-1-py3-none-any.whl",)).roots
    assert typed.url == "/${HERE_1}/a-1-py3-none-any.whl"


@pytest.mark.parametrize(
    "line",
    [
        "${MISSING}==1",
        "--index-url http://127.0.0.1/${MISSING}/simple",
        "-r ${MISSING}/r.txt",
        "https://me:${MISSING}@127.0.0.1/a-1-py3-none-any.whl",
        "a @ http://127.0.0.1/${MISSING}/a-1-py3-none-any.whl",
    ],
)
def test_a_variable_that_is_not_set_is_named_where_nothing_can_be_meant_by_its_name(desk: Desk, line: str) -> None:
    with pytest.raises(RequirementsFileError, match=r"r\.txt, line 2: .*: the variable MISSING is not set$"):
        desk.read(desk.write("r.txt", f"x\n{line}\n"))
    desk.read(desk.write("r.txt", f"x # {line}\nhttps://${{MISSING}}/a-1-py3-none-any.whl ; os_name == 'x'\n"))


def test_messages_name_the_variable_and_not_what_it_holds(desk: Desk) -> None:
    desk.environ["TOKEN"] = "hunter2"
    wheel = "tiny-1.0-py3-none-any.whl"
    path = desk.write("r.txt", f"https://127.0.0.1/${{TOKEN}}/{wheel} --hash=sha256:{HASH}\n")
    (wanted,) = desk.read(path).roots
    assert wanted.text == f"https://127.0.0.1/${{TOKEN}}/{wheel}"
    assert wanted.url == f"https://127.0.0.1/hunter2/{wheel}"
    with pytest.raises(RequirementsFileError, match=r"/\$\{TOKEN\}/.*called NAME-VERSION") as refused:
        desk.texts("https://127.0.0.1/${TOKEN}/tiny.tar.gz\n")
    assert "hunter2" not in str(refused.value)
    desk.environ["TOKEN"] = "2hunter"
    with pytest.raises(RequirementsFileError, match=r"its variables make it none") as refused:
        desk.texts("tiny=${TOKEN}\n")
    assert "2hunter" not in str(refused.value)


def test_what_a_variable_holds_is_expanded_no_further_and_begins_no_comment(desk: Desk) -> None:
    desk.environ.update({"A": "x #${B}", "B": "b"})
    (wanted,) = desk.read(desk.write("r.txt", "/${A}/${B}/a-1-py3-none-any.whl  # ${A}\n")).roots
    assert wanted.url == "/x #${B}/b/a-1-py3-none-any.whl"


def test_hashes_belong_to_their_requirement(desk: Desk) -> None:
    content = (
        f"\ufeffa==1.0 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{OTHER.upper()}\nb==2 --hash sha256:{OTHER}\n"
    )
    requested = desk.read(desk.write("requirements.txt", content))
    assert [each.sha256s for each in requested.roots] == [frozenset({HASH, OTHER}), frozenset({OTHER})]
    assert [each.pinned for each in requested.roots] == ["1", "2"]
    assert requested.options.require_hashes


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"a==1 --hash=sha256:{HASH}\nb==2\n", "'b==2'.*hashes are required"),
        (f"a>=1 --hash=sha256:{HASH}\n", "name one version"),
        ("--require-hashes\na==1\n", "hashes are required"),
        ("a==1 --hash=md5:abc\n", "hashes by md5"),
        ("a==1 --hash=sha256:abc\n", "64 hexadecimal"),
    ],
)
def test_hashes_are_complete_and_strong_or_refused(desk: Desk, content: str, reason: str) -> None:
    with pytest.raises((RequirementsFileError, InvalidRequirementError), match=reason):
        desk.texts(content)


def test_a_missing_hash_is_told_with_the_line_that_it_is_missing_in(desk: Desk) -> None:
    nested = desk.write("sub/nested.txt", "\nb==2\n")
    with pytest.raises(RequirementsFileError) as refused:
        desk.texts(f"a==1 --hash=sha256:{HASH}\n-r sub/nested.txt\n")
    assert (refused.value.path, refused.value.line_number) == (nested, 2)
    assert str(refused.value).startswith(f"{nested}, line 2: 'b==2' cannot be used as a requirement: hashes are")


def test_what_stands_beside_a_lock_file_needs_a_hash_or_a_command_of_its_own(desk: Desk) -> None:
    lock = desk.write("pylock.toml", LOCK)
    with pytest.raises(InvalidRequirementError) as refused:
        desk.read(lock, requirements=("rich",))
    assert str(refused.value).endswith(
        f": all that comes with the lock file {lock} needs a hash; install it by a command of its own"
    )


@pytest.mark.parametrize("name", ["pyproject.toml", "other.toml", "uv.TOML"])
def test_a_toml_file_that_is_no_lock_file_is_refused_with_the_names_that_are_read(desk: Desk, name: str) -> None:
    path = desk.write(name, "[project]\n")
    for nesting in (path, desk.write("r.txt", f"-r {name}\n")):
        with pytest.raises(RequirementsFileError, match=rf"{name}: .* pylock\.toml or pylock\.NAME\.toml .*\.txt$"):
            desk.read(nesting)


@pytest.mark.parametrize("blank", [" ", "\t"])
def test_a_line_of_blanks_is_read_without_delay(desk: Desk, blank: str) -> None:
    assert desk.texts(f"a{blank * 300_000}\nb{blank * 300_000}# {'#' * 300_000}\n") == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("requirements.txt", "it names a file; write -r requirements.txt"),
        ("./requirements/DEV.TXT", "it names a file; write -r ./requirements/DEV.TXT"),
        ("requirements.in", "it names a file; write -r requirements.in"),
        ("pylock.dev.toml", "it names a file; write -r pylock.dev.toml"),
        ("pyproject.toml", "it names a file of a project; name what is wanted, or leave the project to pip or uv"),
        ("setup.cfg", "it names a file of a project; name what is wanted, or leave the project to pip or uv"),
        ("setup.py", "it names a file of a project; name what is wanted, or leave the project to pip or uv"),
    ],
)
def test_the_name_of_a_file_is_no_project_s(desk: Desk, name: str, reason: str) -> None:
    with pytest.raises(InvalidRequirementError) as refused:
        desk.read(requirements=(name,))
    assert refused.value.reason == reason


def test_a_script_that_is_here_is_no_project_and_discord_py_is_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.root)
    assert [each.project for each in desk.read(requirements=("discord.py",)).roots] == ["discord-py"]
    desk.write("discord.py", "")
    assert desk.texts("discord.py\n") == ["discord.py"]
    with pytest.raises(InvalidRequirementError, match="it names a file that is here; write discord-py for the project"):
        desk.read(requirements=("discord.py",))
    assert [each.project for each in desk.read(requirements=("discord-py",)).roots] == ["discord-py"]


def test_a_hash_may_stand_in_a_constraint(desk: Desk) -> None:
    desk.write("c.txt", f"a==1 --hash=sha256:{HASH}\n")
    requested = desk.read(desk.write("r.txt", "-c c.txt\n--require-hashes\na==1\n"))
    assert [each.text for each in requested.roots] == ["a==1"]
    assert [each.sha256s for each in requested.constraints] == [frozenset({HASH})]


def test_files_include_others_relative_to_themselves(desk: Desk) -> None:
    desk.write("sub/deeper.txt", "-c ../limits.txt\nb\n")
    desk.write("limits.txt", "c<2\n")
    desk.write("sub/last.txt", "d\n")
    requested = desk.read(desk.write("requirements.txt", "a\n-r sub/deeper.txt\n--requirement=sub/last.txt\n"))
    assert [each.project for each in requested.roots] == ["a", "b", "d"]
    assert [each.project for each in requested.constraints] == ["c"]


def test_a_requirements_file_in_a_constraints_file_is_one_of_constraints(desk: Desk) -> None:
    desk.write("more.txt", "b<2\n")
    requested = desk.read(constraint_files=(desk.write("c.txt", "-r more.txt\na<1\n"),), requirements=("x",))
    assert [each.project for each in requested.constraints] == ["b", "a"]
    assert [each.project for each in requested.roots] == ["x"]


def test_a_file_that_includes_itself_is_refused(desk: Desk) -> None:
    desk.write("b.txt", "-r a.txt\n")
    with pytest.raises(RequirementsFileError, match="includes itself"):
        desk.read(desk.write("a.txt", "-r b.txt\n"))


def test_the_same_file_may_be_included_twice(desk: Desk) -> None:
    desk.write("base.txt", "b\n")
    desk.write("x.txt", "-r base.txt\n")
    requested = desk.read(desk.write("a.txt", "-r base.txt\n-r x.txt\n"))
    assert [each.project for each in requested.roots] == ["b", "b"]


def test_options_are_given_to_the_caller(desk: Desk) -> None:
    lines = (
        "--index-url http://127.0.0.1/one\n--extra-index-url=http://127.0.0.1/two --pre\n--extra-index-url http://127.0.0.1/3\n"
        "-f wheels\n--find-links http://127.0.0.1/links\n--no-index\n--only-binary :all:\n--no-binary=a,b\n"
        "--trusted-host 127.0.0.1\n--prefer-binary\n--use-feature fast-deps\n"
    )
    (desk.root / "wheels").mkdir()
    assert desk.read(desk.write("requirements.txt", lines)).options == FileOptions(
        index_url="http://127.0.0.1/one",
        extra_index_urls=("http://127.0.0.1/two", "http://127.0.0.1/3"),
        find_links=(str(desk.root / "wheels"), "http://127.0.0.1/links"),
        no_index=True,
        pre=True,
        no_binary=("a", "b"),
        only_binary=(":all:",),
        trusted_hosts=("127.0.0.1",),
    )


@pytest.mark.parametrize(
    ("lines", "built"),
    [
        ("--no-binary a,B.c", {"a", "b-c"}),
        ("--no-binary :all:", {"a", "b-c", "d"}),
        ("--no-binary :all:\n--only-binary d", {"a", "b-c"}),
        ("--no-binary a\n--only-binary a", set()),
        ("--only-binary a\n--no-binary a", {"a"}),
        ("--no-binary a\n--no-binary :none:", set()),
        ("--only-binary :all:\n--no-binary a", {"a"}),
    ],
)
def test_what_is_said_last_of_the_binaries_of_a_project_holds(desk: Desk, lines: str, built: set[str]) -> None:
    options = desk.read(desk.write("r.txt", f"{lines}\n")).options
    assert {project for project in ("a", "b-c", "d") if options.is_to_be_built(project)} == built


@pytest.mark.parametrize("prefix", ["", "./", "sub/", "tiny @ ", "tiny @ ./", "file:", "file:./sub/"])
def test_a_relative_path_in_a_file_belongs_to_the_current_directory(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.chdir(desk.root)
    (wanted,) = desk.read(desk.write("elsewhere/r.txt", f"{prefix}tiny-1.0-py3-none-any.whl\n")).roots
    _, file, _ = direct_file(wanted.url or "")
    folder = f"{desk.root}/sub" if "sub/" in prefix else desk.root
    assert file.url == f"file://{folder}/tiny-1.0-py3-none-any.whl"


def test_a_subdirectory_and_a_hash_may_follow_a_path_beside_the_file(desk: Desk) -> None:
    desk.write("elsewhere/tiny-1.0.tar.gz", "")
    line = f"./tiny-1.0.tar.gz#subdirectory=a/b&sha256={'a' * 64}  # why\n"
    (wanted,) = desk.read(desk.write("elsewhere/r.txt", f"--require-hashes\n{line}")).roots
    _, file, _ = direct_file(wanted.url or "")
    assert (file.url, file.sha256) == (f"file://{desk.root}/elsewhere/tiny-1.0.tar.gz", "a" * 64)
    assert told_subdirectory(wanted.url or "") == "a/b"


def test_short_options_may_touch_their_values(desk: Desk) -> None:
    desk.write("b.txt", "b\n")
    requested = desk.read(desk.write("a.txt", "-rb.txt\n-ihttp://127.0.0.1/x\n"))
    assert [each.project for each in requested.roots] == ["b"]
    assert requested.options.index_url == "http://127.0.0.1/x"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--frobnicate", "the option --frobnicate is not known"),
        ("--index-url", "needs a value"),
        ("-e .", "editable"),
        ("git+https://example.org/x.git", "version control"),
        ("x @ git+https://example.org/x.git", "version control"),
        ("a==", "cannot be used"),
        ("./project", "only wheels"),
        ('--find-links "open', "No closing quotation"),
        ("-r https://example.org/r.txt", "this machine only"),
        ("-r absent.txt", "cannot be read"),
        ("-e.", "editable"),
        ("--editable=./tiny", "editable"),
        ("tiny \\\n  ==", "line 2: "),
        ("tiny==1 --hash=md5:0", "line 2: "),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_line(desk: Desk, line: str, reason: str) -> None:
    with pytest.raises(RequirementsFileError, match=reason):
        desk.read(desk.write("requirements.txt", f"ok\n{line}\n"))


def test_constraints_with_extras_are_refused(desk: Desk) -> None:
    with pytest.raises(RequirementsFileError, match="cannot have extras"):
        desk.read(constraint_files=(desk.write("c.txt", "a[x]<2\n"),))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00tiny"])
def test_a_file_that_cannot_be_read_is_named(desk: Desk, content: bytes | None) -> None:
    path = str(desk.root / "absent.txt") if content is None else desk.write("r.txt", content)
    with pytest.raises(RequirementsFileError, match="cannot be read"):
        desk.read(path)
    with pytest.raises(RequirementsFileError, match="cannot be read"):
        desk.read(str(desk.root))


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa==1\n".encode(),
        "a==1\n".encode("utf-16"),
        "# coding: latin-1\n# gr\xfc\xdfe\na==1\n".encode("latin-1"),
        "a==1  # gr\xfc\xdfe\n".encode(),
        b"a==1\r\n",
    ],
)
def test_the_encodings_that_pip_knows_are_read(desk: Desk, content: bytes) -> None:
    assert desk.texts(content) == ["a==1"]


def test_wheels_are_named_by_path_from_here_or_from_beside_the_file(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.root)
    desk.write("sub/wheels/a-1.0-py3-none-any.whl", b"")
    desk.write("b-1.0-py3-none-any.whl", b"")
    path = desk.write(
        "sub/requirements.txt",
        f"./wheels/a-1.0-py3-none-any.whl --hash=sha256:{HASH}\n./b-1.0-py3-none-any.whl --hash=sha256:{HASH}\n",
    )
    first, second = desk.read(path).roots
    assert first.url is not None
    assert Path(first.url).resolve() == desk.root / "sub/wheels/a-1.0-py3-none-any.whl"
    assert second.url == "./b-1.0-py3-none-any.whl"


def test_a_url_keeps_its_marker_apart(desk: Desk) -> None:
    url = "https://example.org/a-1.0-py3-none-any.whl"
    assert desk.read(desk.write("r.txt", f"{url} ; python_version < '3'\n")).roots == ()
    (only,) = desk.read(desk.write("r.txt", f"{url} ; python_version > '3'\n")).roots
    assert only.url == url


def test_a_requirement_without_a_file_reads_the_same(desk: Desk) -> None:
    (found,) = desk.read(requirements=("a[x]==1.0",)).roots
    assert (found.project, found.pinned, found.origin) == ("a", "1", "")


LOCK = f"""
lock-version = "1.0"
created-by = "a test"
[[packages]]
name = "a"
version = "1.0"
[[packages.wheels]]
name = "a-1.0-py3-none-any.whl"
url = "https://example.org/a-1.0-py3-none-any.whl"
hashes = {{sha256 = "{HASH}"}}
[[packages]]
name = "b"
version = "2.0"
marker = "sys_platform == 'elsewhere'"
[[packages.wheels]]
name = "b-2.0-py3-none-any.whl"
url = "https://example.org/b-2.0-py3-none-any.whl"
hashes = {{sha256 = "{HASH}"}}
"""


def test_a_lock_file_names_wheels_and_leaves_nothing_to_resolve(desk: Desk) -> None:
    requested = desk.read(desk.write("pylock.toml", LOCK))
    (only,) = requested.roots
    assert (only.project, only.sha256s, only.url) == ("a", {HASH}, "https://example.org/a-1.0-py3-none-any.whl")
    assert requested.is_locked
    assert not desk.read(
        desk.write("pylock.dev.toml", LOCK), requirements=(only.text + f" --hash=sha256:{HASH}",)
    ).is_locked


def test_a_path_in_a_lock_file_stands_beside_it(desk: Desk) -> None:
    desk.write("sub/w/a-1.0-py3-none-any.whl", b"")
    lock = LOCK.replace('url = "https://example.org/a-1', 'path = "w/a-1', 1)
    (only,) = desk.read(desk.write("sub/pylock.toml", lock)).roots
    assert only.url == str(desk.root / "sub/w/a-1.0-py3-none-any.whl")


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ('url = "https://example.org/blob/abcdef"', "https://example.org/blob/abcdef"),
        ('url = "https://example.org/blob/"', "https://example.org/blob/"),
        ('url = "https://example.org/x.whl?key=1#egg=a"', "https://example.org/x.whl?key=1"),
        ('path = "blob #1"', "file://DIRECTORY/blob%20%231"),
    ],
)
def test_a_lock_file_may_call_a_wheel_otherwise_than_its_place_does(desk: Desk, place: str, url: str) -> None:
    lock = LOCK.replace('url = "https://example.org/a-1.0-py3-none-any.whl"', place, 1)
    (only,) = desk.read(desk.write("pylock.toml", lock)).roots
    _, file, _ = direct_file(only.url or "")
    assert (file.filename, file.url) == ("a-1.0-py3-none-any.whl", url.replace("DIRECTORY", str(desk.root)))


@pytest.mark.parametrize(
    "url", ["git+https://x/y/a-1.0-py3-none-any.whl", "https://x:port/a-1.0-py3-none-any.whl", "https:///x"]
)
def test_a_place_in_a_lock_file_that_cannot_be_used_is_refused_with_the_lock_file(desk: Desk, url: str) -> None:
    lock = LOCK.replace("https://example.org/a-1.0-py3-none-any.whl", url, 1)
    with pytest.raises(RequirementsFileError, match=r"pylock\.toml: the wheel of a==1\.0 cannot be used: "):
        desk.read(desk.write("pylock.toml", lock))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('lock-version = "1.0"', 'lock-version = "9.0"', "no lock file"),
        ("[[packages]]", "[[packages", "no lock file"),
        ('lock-version = "1.0"', 'lock-version = "1.0"\nrequires-python = ">=99"', "99"),
        ('name = "a-1.0-py3-none-any.whl"', 'name = "a-1.0-cp27-cp27m-win32.whl"', "wheel"),
        ('name = "a-1.0-py3-none-any.whl"\nurl = "https://example.org/a-1', 'url = "https://example.org/a/', "wheel"),
        (f'sha256 = "{HASH}"', 'sha512 = "abc"', "no sha256"),
        ('created-by = "a test"', f"created-by = {'1' * 6000}", "no lock file"),
        ('created-by = "a test"', f"created-by = {'[' * 5000}{']' * 5000}", "no lock file .* nested too deeply"),
        ('version = "1.0"', f'version = "{"1" * 6000}"', "no lock file"),
        ('"sys_platform', f'"{"(" * 5000}sys_platform', r"packages\[1\]\.marker"),
        ('"sys_platform', f"\"python_version > '{'1' * 5000}' and sys_platform", "digits"),
    ],
)
def test_a_lock_file_that_does_not_suit_is_refused(desk: Desk, old: str, new: str, reason: str) -> None:
    with pytest.raises(RequirementsFileError, match=reason):
        desk.read(desk.write("pylock.toml", LOCK.replace(old, new, 1)))


def test_the_sdist_of_a_lock_file_is_taken_where_it_names_no_wheel(desk: Desk) -> None:
    lock = LOCK.replace("[[packages.wheels]]", "[packages.sdist]", 1).replace(
        "a-1.0-py3-none-any.whl", "a-1.0.tar.gz", 2
    )
    wanted = desk.read(desk.write("pylock.toml", lock)).roots[0]
    assert (wanted.text, wanted.is_locked, len(wanted.sha256s)) == ("a==1.0", True, 1)
    assert (wanted.url or "").endswith("a-1.0.tar.gz")
