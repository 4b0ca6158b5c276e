"""Where everything stands below the cache dir: the one place where a key becomes a path.

Every part of a path that comes from outside is checked by `aiocache_engine.model.names` on its way in.
"""

from __future__ import annotations

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.names import is_object_id, is_sdist, overlay_name, project_name, safe_segment, sha256_hex

MARKER = "aioc-cache.json"
PROJECTS = "projects-v1"
ARCHIVES = "archives-v1"
OVERLAYS = "overlays-v1"
TOOLS = "tools-v1"
BUILDS = "builds-v1"
ENVIRONMENTS = "environments-v1"
BYTECODE = "bytecode-v1"
INTERPRETERS = "interpreters-v1"
BUCKETS = (
    PROJECTS,
    OVERLAYS,
    ARCHIVES,
    TOOLS,
    BUILDS,
    ENVIRONMENTS,
    BYTECODE,
    INTERPRETERS,
)  #: versioned; each release prunes older versions of its own only
HASH_NAMES = "hash"
BUILT = "built"  #: stands for an index in the keys of wheels built here; their file name is a digest of the build
OVERLAY = "overlay/"  #: with the name of one, stands for an index in the keys of wheels added to it
PAGE = "page"
METADATA_SUFFIX = ".metadata"
LOG_SUFFIX = ".log"
SETTINGS_MEMO = "settings.json"


class Layout:
    """The paths of one cache dir, as strings: they are built on hot paths."""

    __slots__ = (
        "archives",
        "builds",
        "bytecodes",
        "condemned",
        "environments",
        "generations",
        "interpreters",
        "key_locks",
        "leases",
        "lock",
        "locks",
        "marker",
        "overlays",
        "pins",
        "project_generations",
        "projects",
        "quarantine",
        "referrers",
        "reserve",
        "root",
        "staging",
        "tools",
        "trash",
    )

    def __init__(self, root: str) -> None:
        self.root = root
        self.marker = f"{root}/{MARKER}"
        self.reserve = f"{root}/.reserve"
        self.locks = f"{root}/.locks"
        self.lock = f"{root}/.locks/cache.lock"
        self.key_locks = f"{root}/.locks/keys"
        self.projects = f"{root}/{PROJECTS}"
        self.overlays = f"{root}/{OVERLAYS}"
        self.archives = f"{root}/{ARCHIVES}"
        self.tools = f"{root}/{TOOLS}"
        self.builds = f"{root}/{BUILDS}"
        self.environments = f"{root}/{ENVIRONMENTS}"
        self.bytecodes = f"{root}/{BYTECODE}"
        self.interpreters = f"{root}/{INTERPRETERS}"
        self.leases = f"{root}/leases"
        self.referrers = f"{root}/referrers"
        self.pins = f"{root}/pins"
        self.generations = f"{root}/generations"
        self.project_generations = f"{root}/generations/projects"
        self.condemned = f"{root}/condemned"
        self.staging = f"{root}/staging"
        self.trash = f"{root}/trash"
        self.quarantine = f"{root}/quarantine"

    def directories(self) -> tuple[str, ...]:
        """Every directory that a cache dir has from the start, parents first; the last one made means all are there."""
        return (
            self.locks,
            self.key_locks,
            self.projects,
            self.overlays,
            self.archives,
            self.tools,
            self.builds,
            self.environments,
            self.bytecodes,
            self.interpreters,
            self.leases,
            self.referrers,
            self.pins,
            self.generations,
            self.project_generations,
            self.condemned,
            self.staging,
            self.quarantine,
            self.trash,
        )

    def project(self, project: str) -> str:
        """Give the directory of all names, pages and metadata of a project."""
        return f"{self.projects}/{_project(project)}"

    def page(self, project: str, index: str) -> str:
        """Give the stored page of a project on an index."""
        return f"{self.project(project)}/{_object_id(index)}/{PAGE}"

    def pointer(self, project: str, index: str, filename: str) -> str:
        """Give the name that leads from a file to its archive: of an index, of an overlay, or built here."""
        name = f"{safe_segment(filename)}.json"
        if index.startswith(OVERLAY):
            return f"{self.overlay(index.removeprefix(OVERLAY))}/{_project(project)}/{name}"
        return f"{self.project(project)}/{index if index == BUILT else _object_id(index)}/{name}"

    def overlay(self, name: str) -> str:
        """Give the directory of all names of wheels that were added to an overlay, by project."""
        return f"{self.overlays}/{overlay_name(name)}"

    def source(self, project: str, index: str, filename: str) -> str:
        """Give the place of an sdist as it was downloaded from an index: beside the page, so that it goes with it."""
        if not is_sdist(filename):
            raise InvalidNameError("sdist file name", filename, "it must end in .tar.gz or .zip")
        return f"{self.project(project)}/{_object_id(index)}/{safe_segment(filename)}"

    def build_log(self, project: str, digest: str) -> str:
        """Give the place of what a failed build of a project said."""
        return f"{self.project(project)}/{BUILT}/{_object_id(digest)}{LOG_SUFFIX}"

    def hash_names(self, project: str) -> str:
        """Give the directory of a project's hash names; it is there once a wheel of it is."""
        return f"{self.project(project)}/{HASH_NAMES}"

    def hash_name(self, project: str, sha256: str) -> str:
        """Give the name that leads from a wheel's hash to its archive."""
        return f"{self.hash_names(project)}/{sha256_hex(sha256)}"

    def archive(self, archive_id: str) -> str:
        """Give the directory of an archive: tree/, manifest, used, linked."""
        return f"{self.archives}/{_object_id(archive_id)}"

    def environment(self, environment_id: str) -> str:
        """Give the directory of a cached environment: env/, manifest, used."""
        return f"{self.environments}/{_object_id(environment_id)}"

    def tool(self, tool: str) -> str:
        """Give the directory of all names that lead from a tool to cached environments."""
        return f"{self.tools}/{_project(tool)}"

    def tool_pointer(self, tool: str, digest: str) -> str:
        """Give the name that leads from a tool and all that was asked of it to a cached environment."""
        return f"{self.tool(tool)}/{_object_id(digest)}.json"

    def build_pointer(self, digest: str) -> str:
        """Give the name that leads from all that is in a build environment to it."""
        return f"{self.builds}/{_object_id(digest)}.json"

    def environment_pointer(self, tool: str, digest: str) -> str:
        """Give the name that leads to a cached environment: of a tool, or where there is none, for builds."""
        return self.tool_pointer(tool, digest) if tool else self.build_pointer(digest)

    def bytecode(self, archive_id: str) -> str:
        """Give the directory of what was compiled from an archive, by interpreter; it goes with its archive."""
        return f"{self.bytecodes}/{_object_id(archive_id)}"

    def generation(self, project: str) -> str:
        """Give the generation file of a project."""
        return f"{self.project_generations}/{_project(project)}"

    def interpreter(self, key: str) -> str:
        """Give the file that keeps what probing an interpreter told."""
        return f"{self.interpreters}/{_object_id(key)}.json"

    def key_lock(self, key: str) -> str:
        """Give the lock file of one piece of work that must not be done twice."""
        return f"{self.key_locks}/{_object_id(key)}"

    def lease(self, lease_id: str) -> str:
        """Give the lease file of an id."""
        return f"{self.leases}/{_object_id(lease_id)}"

    def referrer(self, referrer_id: str) -> str:
        """Give the record of a registered environment."""
        return f"{self.referrers}/{_object_id(referrer_id)}"

    def pin(self, key: str) -> str:
        """Give the record of a pin, by the digest of its name."""
        return f"{self.pins}/{_object_id(key)}"

    def metadata(self, project: str, index: str, filename: str) -> str:
        """Give the stored core metadata of a wheel on an index."""
        return f"{self.project(project)}/{_object_id(index)}/{safe_segment(filename)}{METADATA_SUFFIX}"


def _project(text: str) -> str:
    if project_name(text) != text:
        raise InvalidNameError("normalized project name", text, "write it in lower case with single dashes")
    return text


def _object_id(text: str) -> str:
    if not is_object_id(text):
        raise InvalidNameError("id", text, "32 hexadecimal digits are expected")
    return text
