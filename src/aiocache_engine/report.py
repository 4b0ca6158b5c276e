"""Progress, as events that the core calls. Every method does nothing by default; only the command line prints."""

from __future__ import annotations

from aiocache_engine.model.locking import Wait


class Reporter:
    """Told what happens, as it happens. Methods may be called from any thread and must return quickly."""

    def waits(self, wait: Wait) -> None:
        """A wait for a lock has passed one second. Called once per wait."""

    def resolved(self, count: int, elapsed_seconds: float) -> None:
        """Versions of so many projects were found that suit everybody."""

    def download_started(self, filename: str, size_bytes: int | None) -> None:
        """The first bytes of a file are on their way; its size where the index tells."""

    def download_advanced(self, filename: str, received_bytes: int) -> None:
        """So many bytes of the file have come, in all."""

    def download_finished(self, filename: str) -> None:
        """The file has come whole and its hash is right, or its download failed."""

    def build_started(self, what: str) -> None:
        """A wheel is being built: of an sdist by its file name, or of a project directory."""

    def build_finished(self, what: str, elapsed_seconds: float) -> None:
        """Its wheel is there, or its build failed."""

    def published(self, filename: str) -> None:
        """A wheel has been unpacked and can be looked up by everybody."""

    def installed(self, target: str, count: int) -> None:
        """So many distributions were linked into the target."""

    def warns(self, text: str) -> None:
        """Something went on in spite of a difficulty that a person should know of."""

    def uncompiled(self, distribution: str, reason: str) -> None:
        """A wheel is installed without bytecode, which Python will make where it can."""
