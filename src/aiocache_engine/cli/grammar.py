"""The commands and their options, as one table: both parsers read it, so that they cannot disagree about what exists.

The options here are those that do something now; an option that is not in the table is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from aiocache_engine.cli.values import age, count, given_text, index_strategy, link_mode, overlay, seconds, size
from aiocache_engine.hints import Any
from aiocache_engine.model.value import value


class Kind(enum.Enum):
    """What follows an option, and what it becomes."""

    FLAG = "flag"  #: nothing; True
    COUNT = "count"  #: nothing; how often it was given
    TEXT = "text"  #: one value
    TEXTS = "texts"  #: one value each time; all of them
    REFUSED = "refused"  #: nothing; giving it is an error, and its help is the message


@value
class Option:
    """One option."""

    flags: tuple[str, ...]
    kind: Kind
    name: str  #: of the field that holds it
    help: str
    metavar: str | None = None
    convert: Callable[[str], Any] = given_text  #: of the text of its value; ValueError says what is wrong


@value
class Command:
    """One command."""

    help: str
    options: tuple[Option, ...]
    operands: tuple[str, str, str] | None = None  #: field, metavar and help of what is no option
    takes_many: bool = True  #: operands; else at most one
    hands_on: bool = False  #: everything from the first operand on belongs to somebody else, options and all

    def all_options(self) -> tuple[Option, ...]:
        """Give its own options, then the common ones. What a tool prints is no JSON of ours."""
        return (*self.options, *(option for option in COMMON if not (self.hands_on and option is _JSON)))


_JSON = Option(("--json",), Kind.FLAG, "is_json", "Print one JSON object on stdout, and nothing else there.")
COMMON = (
    Option(("--cache-dir",), Kind.TEXT, "cache_dir", "The cache dir (AIOC_CACHE_DIR).", "DIR"),
    Option(("--index-url",), Kind.TEXT, "index_url", "The index that is asked last (AIOC_INDEX_URL).", "URL"),
    Option(
        ("--extra-index-url",),
        Kind.TEXTS,
        "extra_index_urls",
        "An index that is asked before it (AIOC_EXTRA_INDEX_URL); may be repeated.",
        "URL",
    ),
    Option(
        ("--find-links",),
        Kind.TEXTS,
        "find_links",
        "A page or directory of wheels that is looked at first (AIOC_FIND_LINKS); may be repeated.",
        "LOCATION",
    ),
    Option(
        ("--index-strategy",),
        Kind.TEXT,
        "index_strategy",
        "Take a project from the first index that knows it, or the best wheel of all indexes.",
        "first-index|best-match",
        index_strategy,
    ),
    Option(("--offline",), Kind.FLAG, "is_offline", "Use the cache alone (AIOC_OFFLINE)."),
    Option(
        ("--lock-timeout",),
        Kind.TEXT,
        "lock_timeout_seconds",
        "How long to wait for the cache lock, 60 by default (AIOC_LOCK_TIMEOUT).",
        "SECONDS",
        seconds,
    ),
    Option(
        ("--trust-cache",),
        Kind.FLAG,
        "trusts_cache_dir",
        "Use a cache dir of a strange owner or mode, or behind a link.",
    ),
    _JSON,
    Option(("-q", "--quiet"), Kind.FLAG, "is_quiet", "Print nothing but errors."),
    Option(("-v", "--verbose"), Kind.COUNT, "verbosity", "Print more; -vv still more."),
)

_FILES = Option(
    ("-r", "--requirement"),
    Kind.TEXTS,
    "files",
    "A requirements file (requirements.txt) or a lock file (pylock.toml); may be repeated.",
    "FILE",
)
_CONSTRAINTS = Option(
    ("-c", "--constraint"),
    Kind.TEXTS,
    "constraint_files",
    "A file of versions to keep to, should their projects be needed; may be repeated.",
    "FILE",
)
_REFRESH = Option(("--refresh",), Kind.FLAG, "refreshes", "Ask the indexes even where their stored pages are fresh.")
_NO_DEPS = Option(
    ("--no-deps",), Kind.FLAG, "is_without_deps", "Take what is named and nothing else: dependencies are not followed."
)
_REQUIRE_HASHES = Option(
    ("--require-hashes",),
    Kind.FLAG,
    "requires_hashes",
    "Refuse what has no hash. One requirement with a --hash means the same.",
)
_OVERLAYS = Option(
    ("--overlay",),
    Kind.TEXTS,
    "overlays",
    "An overlay that is looked at before any index (AIOC_OVERLAY); may be repeated.",
    "NAME",
    overlay,
)
_NO_BUILD = Option(("--no-build",), Kind.FLAG, "is_without_builds", "Build nothing: what has no wheel is not taken.")
_NO_BINARY = Option(
    ("--no-binary",),
    Kind.TEXTS,
    "no_binary",
    "Build this project, whatever wheels it has, or :all: of them; may be repeated.",
    "NAME",
)
_DRY_RUN = Option(("-n", "--dry-run"), Kind.FLAG, "is_dry_run", "Tell what would be done, and do not do it.")
_REQUIREMENTS = ("requirements", "REQ", "Requirements (PEP 508), and paths or URLs of wheels and sdists.")

COMMANDS = {
    "run": Command(
        "Run a tool in a cached environment of its own, made at its first use. Everything after TOOL is the tool's.",
        (
            Option(("--from",), Kind.TEXT, "source", "What brings the command, where that is not called TOOL.", "REQ"),
            Option(("--with",), Kind.TEXTS, "additions", "What else shall be there; may be repeated.", "REQ"),
            Option(
                ("--python",),
                Kind.TEXT,
                "python",
                "The interpreter that runs the tool; by default the one that aioc itself was made with.",
                "EXE|3.12",
            ),
            Option(
                ("--refresh",), Kind.FLAG, "refreshes", "Ask the indexes anew; a newer tool replaces the cached one."
            ),
            Option(("--isolated",), Kind.FLAG, "is_isolated", "In an environment for this run alone."),
            _OVERLAYS,
        ),
        ("words", "TOOL[@VERSION|@latest] [ARGS...]", "A command, and what it is told. `python` is the interpreter."),
        hands_on=True,
    ),
    "install": Command(
        "Install wheels into an environment or directory, linked from the cache.",
        (
            _FILES,
            _CONSTRAINTS,
            Option(("--venv",), Kind.TEXT, "venv", "The environment to install into; made if missing.", "DIR"),
            Option(("--python",), Kind.TEXT, "python", "With --venv: made of this; alone: its own site.", "EXE|3.12"),
            Option(("--target",), Kind.TEXT, "target", "Install into a plain directory.", "DIR"),
            Option(("--upgrade",), Kind.FLAG, "upgrades", "Take the newest versions, also where those there would do."),
            Option(("--reinstall",), Kind.FLAG, "reinstalls", "Also what is there already in the same version."),
            _REFRESH,
            _NO_DEPS,
            _REQUIRE_HASHES,
            _NO_BUILD,
            _NO_BINARY,
            Option(
                ("--link-mode",),
                Kind.TEXT,
                "link_mode",
                "How files get there (AIOC_LINK_MODE); by default the best way that works, symlinks left out.",
                "clone|hardlink|copy|symlink",
                link_mode,
            ),
            Option(("--no-compile",), Kind.FLAG, "is_without_bytecode", "Leave compiling modules to Python."),
            Option(
                ("--ephemeral",),
                Kind.FLAG,
                "is_ephemeral",
                "The environment is short-lived: prune keeps what it used when it is gone.",
            ),
            _OVERLAYS,
            Option(
                ("--break-system-packages",),
                Kind.FLAG,
                "breaks_system_packages",
                "Install into an externally managed interpreter all the same (PEP 668).",
            ),
            _DRY_RUN,
        ),
        _REQUIREMENTS,
    ),
    "fetch": Command(
        "Bring wheels into the cache and do nothing else with them.",
        (
            _FILES,
            _CONSTRAINTS,
            Option(
                ("--python",),
                Kind.TEXT,
                "python",
                "The interpreter that the wheels are for; by default the one that `aioc install` would use.",
                "EXE|3.12",
            ),
            _REFRESH,
            _NO_DEPS,
            _REQUIRE_HASHES,
            _NO_BUILD,
            _NO_BINARY,
            _OVERLAYS,
        ),
        _REQUIREMENTS,
    ),
    "build": Command(
        "Build wheels into a directory: of project directories, sdists, or the sdists of requirements.",
        (
            Option(("--wheel-dir",), Kind.TEXT, "wheel_dir", 'Where the wheels go; by default "dist".', "DIR"),
            Option(
                ("--python",),
                Kind.TEXT,
                "python",
                "The interpreter to build for; by default the one that `aioc install` would use.",
                "EXE|3.12",
            ),
            Option(
                ("-j", "--jobs"),
                Kind.TEXT,
                "job_count",
                "How many builds run at the same time; by default as many as processors and memory bear.",
                "N",
                count,
            ),
            Option(
                ("--config-setting",),
                Kind.TEXTS,
                "settings",
                "What build backends are told; may be repeated.",
                "NAME=VALUE",
            ),
            _OVERLAYS,
        ),
        ("sources", "SRC", 'Project directories (with a slash, or "."), paths or URLs of sdists, requirements.'),
    ),
    "add": Command(
        "Add wheels that were built elsewhere to an overlay, for whoever names it.",
        (Option(("--overlay",), Kind.TEXT, "overlay", 'The overlay; by default "default".', "NAME", overlay),),
        ("wheels", "WHEEL", "Paths of wheels; each takes the place of one of the same file name."),
    ),
    "clean": Command(
        "Remove projects from the cache, or everything. Waits for nobody; what is in use is freed when its user ends.",
        (
            Option(
                ("--tool",),
                Kind.TEXTS,
                "tools",
                "The cached environments of a tool, and nothing else; may be repeated.",
                "TOOL",
            ),
            Option(
                ("--overlay",),
                Kind.TEXT,
                "overlay",
                "What is named, or everything, in this overlay alone.",
                "NAME",
                overlay,
            ),
            Option(
                ("--deps",),
                Kind.FLAG,
                "takes_dependencies",
                "Also what that needs, and what else was in environments that go, if nothing else uses it.",
            ),
            Option(
                ("--even-in-use",),
                Kind.FLAG,
                "takes_in_use",
                "Also the bytes of what is in use or pinned, at once; who uses it is told, and may break.",
            ),
            Option(("--wait",), Kind.FLAG, "waits", "Come back when those have ended who use what was removed."),
            _DRY_RUN,
            Option(
                ("--force",),
                Kind.REFUSED,
                "",
                "--force is not needed: clean waits for nobody, so there is nothing to wait for; leave it out",
            ),
        ),
        (
            "names",
            "REQ|ID",
            'Projects, versions of them ("torch<2.5"), patterns ("nvidia-*"), ids (of `ls --json`); none: everything.',
        ),
    ),
    "prune": Command(
        "Remove what nothing uses any more, and what dead work left.",
        (
            Option(
                ("--tools",), Kind.FLAG, "takes_tools", "Also the cached environments of tools that do not run now."
            ),
            Option(
                ("--keep-latest",),
                Kind.FLAG,
                "keeps_latest",
                "Of a tool's environments only the newest one of each interpreter stays; with --tools, it does.",
            ),
            Option(
                ("--unused-for",),
                Kind.TEXT,
                "unused_for_seconds",
                "Whatever nobody used for so long, and nothing younger that could be used again (AIOC_UNUSED_FOR).",
                "30d",
                age,
            ),
            Option(
                ("--max-size",),
                Kind.TEXT,
                "max_size_bytes",
                "Then what was used least recently, until the cache is no larger.",
                "20GB",
                size,
            ),
            Option(
                ("--min-free",),
                Kind.TEXT,
                "min_free_bytes",
                "Then what was used least recently, until so much of the disk is free.",
                "10GB",
                size,
            ),
            Option(
                ("--ci",), Kind.FLAG, "is_ci", "Whatever could be fetched or made again, before a CI cache is saved."
            ),
            _DRY_RUN,
        ),
    ),
    "ls": Command(
        "List what is in the cache.",
        (),
        ("name", "REQ", 'A project, or versions of it ("torch<2.5"); none: everything.'),
        takes_many=False,
    ),
    "why": Command(
        "Tell why something is still in the cache, and what would release it; or that the next prune removes it.",
        (),
        ("what", "REQ|ID|PATH", "A project or version, an id as `ls -v` has it, or a path: an environment's, say."),
        takes_many=False,
    ),
    "pin": Command(
        "Keep what the cache holds of projects, whatever is cleaned or pruned; without any, list the pins.",
        (
            Option(
                ("--name",),
                Kind.TEXT,
                "name",
                "One pin of this name for all; by default one for each, called as it is named.",
                "N",
            ),
        ),
        ("requirements", "REQ", 'Projects, versions of them ("torch<2.5"), patterns ("nvidia-*"), ids of archives.'),
    ),
    "unpin": Command(
        "Take a pin off.",
        (),
        ("name", "N", "The name of a pin, as `aioc pin` lists them."),
        takes_many=False,
    ),
    "forget": Command(
        "Forget environments that cannot be reached and are gone for good, so that they keep nothing any more.",
        (),
        ("paths", "PATH", "Where an environment was, or a directory of `install --target`."),
    ),
    "ps": Command("Tell who uses the cache now.", ()),
    "size": Command("Tell how much the cache holds.", ()),
    "dir": Command("Print the path of the cache dir.", ()),
}
