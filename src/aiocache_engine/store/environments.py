"""Cached environments on disk: env/, a manifest, the stamp of the last use; and the names that lead to them.

An environment is an object with a random id, never changed once it is visible. Launchers and scripts name its final
path, so the id is drawn before anything is linked. The name of one says all its distributions, so that a clean need not
open the environment. Looking up and publishing need a work: `aiocache_engine.store.work`.
"""

from __future__ import annotations

import os
import stat

from aiocache_engine.hints import Any
from aiocache_engine.model.names import is_object_id
from aiocache_engine.model.records import EnvironmentManifest, EnvironmentPointer, Member, ToolCommand
from aiocache_engine.model.value import value
from aiocache_engine.store.archives import MANIFEST, USED
from aiocache_engine.store.documents import NewerFormatError, decode, encode, read_document
from aiocache_engine.store.stamps import fresh_stamp
from aiocache_engine.system.disk import write_in_place

ROOT = "env"
ENVIRONMENT_VARIABLE = "AIOC_ENVIRONMENT"  #: says to every process of a tool which environment it lives in


@value
class CachedEnvironment:
    """One cached environment, as a look-up or a publication gives it: leased, so that it stays."""

    id: str
    path: str  #: absolute path of the object's directory

    @property
    def root(self) -> str:
        """The absolute path of the environment itself."""
        return f"{self.path}/{ROOT}"


@value
class FoundEnvironment:
    """What a look-up found: the environment, and the name that led to it."""

    environment: CachedEnvironment
    pointer: EnvironmentPointer


@value
class PublishedEnvironment:
    """What a publication led to."""

    environment: CachedEnvironment
    is_named: bool  #: False: no look-up finds it, and it goes when this work's lease ends


def encode_environment_pointer(pointer: EnvironmentPointer) -> bytes:
    """Encode the content of a name."""
    return encode(
        {
            "environment_id": pointer.environment_id,
            **_request(pointer),
            "commands": [(each.name, each.path, each.project) for each in pointer.commands],
            "created_at": pointer.created_at,
        }
    )


def decode_environment_pointer(content: bytes | None) -> EnvironmentPointer | None:
    """Decode the content of a name; None where it is absent, damaged or of another format."""
    document = _decode(content)
    if document is None:
        return None
    try:
        pointer = EnvironmentPointer(
            environment_id=document["environment_id"],
            tool=document["tool"],
            digest=document["digest"],
            executable=document["executable"],
            members=tuple(Member(*each) for each in document["members"]),
            commands=tuple(ToolCommand(*each) for each in document["commands"]),
            created_at=document["created_at"],
        )
        is_sound = is_object_id(pointer.environment_id) and _is_sound(pointer)
        return pointer if is_sound and isinstance(document["created_at"], int | float) else None
    except (KeyError, TypeError):
        return None


def read_environment_pointer(path: str) -> EnvironmentPointer | None:
    """Read a name; None where it is absent or damaged: a miss."""
    return decode_environment_pointer(read_document(path))


def write_environment_description(
    staged: str, pointer: EnvironmentPointer, *, boot_id: str, is_cloned: bool = False
) -> None:
    """Write manifest and first stamp of an environment that is still in staging, its files counted.

    Args:
        staged: the directory that holds `env`.
        pointer: what its name will say.
        boot_id: of this machine.
        is_cloned: files in it are clones of those of an archive.
    """
    file_count = size_bytes = own_bytes = 0
    for directory, names, files in os.walk(f"{staged}/{ROOT}"):
        for name in (*names, *files):
            status = os.lstat(f"{directory}/{name}")
            if stat.S_ISDIR(status.st_mode):
                continue
            file_count += 1
            size_bytes += status.st_size
            own_bytes += status.st_size if status.st_nlink == 1 else 0
    totals = {"file_count": file_count, "size_bytes": size_bytes, "own_bytes": own_bytes}
    staging = os.path.dirname(os.path.dirname(staged))
    description = encode({**_request(pointer), **totals, "is_cloned": is_cloned})
    write_in_place(f"{staged}/{MANIFEST}", description, staging)
    write_in_place(f"{staged}/{USED}", fresh_stamp() + boot_id.encode(), staging)


def read_environment_manifest(path: str) -> EnvironmentManifest | None:
    """Read the description of an environment; None where it is absent, damaged or of another format."""
    document = _decode(read_document(f"{path}/{MANIFEST}"))
    if document is None:
        return None
    try:
        manifest = EnvironmentManifest(
            tool=document["tool"],
            digest=document["digest"],
            executable=document["executable"],
            members=tuple(Member(*each) for each in document["members"]),
            file_count=document["file_count"],
            size_bytes=document["size_bytes"],
            own_bytes=document["own_bytes"],
            is_cloned=document["is_cloned"],
        )
        is_counted = all(isinstance(document[name], int) for name in ("file_count", "size_bytes", "own_bytes"))
        return manifest if is_counted and _is_sound(manifest) else None
    except (KeyError, TypeError):
        return None


def _request(pointer: EnvironmentPointer) -> dict[str, Any]:
    """Give what name and manifest have in common."""
    return {
        "tool": pointer.tool,
        "digest": pointer.digest,
        "executable": pointer.executable,
        "members": [(each.project, each.version, each.archive_id) for each in pointer.members],
    }


def _decode(content: bytes | None) -> dict[str, Any] | None:
    try:
        return decode(content)
    except NewerFormatError:
        return None


def _is_sound(said: EnvironmentPointer | EnvironmentManifest) -> bool:
    """Tell whether what a document says is of the right kinds; a whole checksum does not promise that.

    Raises:
        TypeError: it is not.
    """
    texts: list[Any] = [said.tool, said.digest, said.executable]
    texts += [text for each in said.members for text in (each.project, each.version)]
    if isinstance(said, EnvironmentPointer):
        texts += [text for each in said.commands for text in (each.name, each.path, each.project)]
    return all(isinstance(text, str) for text in texts) and all(is_object_id(each.archive_id) for each in said.members)
