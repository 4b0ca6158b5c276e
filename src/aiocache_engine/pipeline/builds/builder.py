"""Build wheels of sdists and projects: each once, whoever wants it, in an environment made for it (PEP 517, 518, 643).

In this order: the sdist is here and unpacked; what its build needs is resolved, fetched and, where it must be, built;
the environment of it stands, leased. Only then come the key lock of the build and a slot, and nothing is waited for but
the backend (rules 3, 4 and 22). A clean of the project meanwhile leaves the wheel to this call alone (rule 20).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from aiocache_engine.hints import TYPE_CHECKING, Protocol, TypeVar
from aiocache_engine.model.names import SdistName, digest, sdist_name
from aiocache_engine.model.plain_json import dump
from aiocache_engine.model.python import Interpreter
from aiocache_engine.model.records import FileKey
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.builds.backend import BackendCall, build_wheel, prepare_metadata, requires_for_wheel
from aiocache_engine.pipeline.builds.built import BuiltWheels, StagedWheel, Take, check_is_of
from aiocache_engine.pipeline.builds.environment import Supplier, build_environment
from aiocache_engine.pipeline.builds.metadata import check_metadata, written_metadata
from aiocache_engine.pipeline.builds.shop import Shop, Shops
from aiocache_engine.pipeline.builds.source import Sources
from aiocache_engine.pipeline.builds.static_metadata import static_metadata
from aiocache_engine.pipeline.builds.untouched import withdrawn_if_changed
from aiocache_engine.pipeline.builds.yard import CHAIN_VARIABLE, Errand, check_chain
from aiocache_engine.pipeline.find import Choice, Ready
from aiocache_engine.pipeline.kit import Kit
from aiocache_engine.pipeline.resolution.resolve import metadata_of
from aiocache_engine.pipeline.steps import Conductor
from aiocache_engine.pipeline.threads import in_thread
from aiocache_engine.pipeline.tools.environment import HeldEnvironment
from aiocache_engine.store.layout import BUILT
from aiocache_engine.store.work import Work
from aiocache_engine.system.keylock import KeyLock

if TYPE_CHECKING:
    from aiocache_engine.index.client import IndexClient

_Result = TypeVar("_Result")
Settings = Mapping[str, "str | list[str]"]  #: what a backend is told (PEP 517)


class Nest(Protocol):
    """Begins a call that obtains the build requirements of something."""

    def __call__(self, interpreter: Interpreter, chain: tuple[str, ...]) -> Supplier:
        """Give it; `chain` is what is being built, outermost first."""


@value
class _Equipped:
    """A backend in its environment."""

    call: BackendCall
    environment: HeldEnvironment


@value
class BuiltProject:
    """What was built of a project directory."""

    wheel: StagedWheel
    log: str | None  #: path of what its backend printed; None: it is not there any more


@value
class Looked:
    """What an sdist says of itself and of its build."""

    name: SdistName
    sha256: str
    requires: tuple[str, ...]  #: what the build needs before its backend can be asked
    more: tuple[str, ...] | None  #: what the backend asks for; None: it was not asked
    metadata: bytes | None  #: core metadata of any wheel built of it; None: only a build tells


class Builder:
    """Builds for one engine call."""

    def __init__(
        self,
        kit: Kit,
        work: Work,
        conductor: Conductor,
        interpreter: Interpreter,
        *,
        client: Callable[[], Awaitable[IndexClient]],
        nest: Nest,
        chain: Sequence[str] = (),
        settings: Settings | None = None,
    ) -> None:
        """Keep what building needs.

        Args:
            kit: the opened cache dir.
            work: of the call: leases what it builds.
            conductor: performs the holds.
            interpreter: that wheels are built for.
            client: gives the client of the indexes.
            nest: begins calls for build requirements.
            chain: what is being built around this call, outermost first.
            settings: what backends are told.
        """
        self._kit = kit
        self._work = work
        self._conductor = conductor
        self._interpreter = interpreter
        self._nest = nest
        self._chain = tuple(chain) or tuple(filter(None, kit.environ.get(CHAIN_VARIABLE, "").split("\n")))
        self._settings: Settings = settings or {}
        self._built = BuiltWheels(kit, work, conductor)
        self._shops = Shops(work, conductor, Sources(kit, work, conductor, client))

    async def wheel(self, choice: Choice, *, take: Take | None = None) -> Ready:
        """Give the wheel that is built of an sdist, out of the cache if it is there.

        Args:
            choice: the sdist.
            take: gets the wheel file.

        Raises:
            BuildError: it cannot be built.
            SourceError, InvalidSdistError: it cannot be had or read; or what it needs cannot, then a note says so.
            DiskError, ReadOnlyCacheError, LockTimeoutError: the machine refused.
        """
        return await self._once(choice, partial(self._wheel, choice, take))

    async def metadata(self, choice: Choice) -> bytes:
        """Give the METADATA that the wheel built of an sdist will have; errors as for `wheel`."""
        return await self._once(choice, partial(self._metadata, choice), shares=True)

    async def look(self, choice: Choice, *, asks: bool, take: Callable[[int, str], None] | None = None) -> Looked:
        """Tell what the build of an sdist needs and what comes of it, as far as it is said; nothing is built.

        Errors as for `wheel`.

        Args:
            choice: the sdist.
            asks: ask its backend too, in an environment of what the sdist says that the backend needs.
            take: gets the sdist, open for reading, and its file name.
        """
        self._work.cache.ensure_writable()
        name = sdist_name(choice.file.filename, choice.wanted.project)
        async with self._shops.of_sdist(choice) as shop:
            if take is not None and shop.sdist_fd is not None:
                await in_thread(partial(take, shop.sdist_fd, name.filename))
            metadata = await in_thread(partial(static_metadata, shop.root))
            if metadata is not None:
                check_metadata(metadata, name, shop.what)
            more = await self._asked(shop, self._chain_to(choice)) if asks else None
            return Looked(name, shop.content, shop.system.requires, more, metadata)

    async def _asked(self, shop: Shop, chain: tuple[str, ...]) -> tuple[str, ...]:
        check_chain(chain)
        home = await in_thread(partial(shop.directory, "home"))
        async with self._environment(shop, chain, shop.system.requires, home) as equipped, self._kit.yard.slot():
            return await requires_for_wheel(equipped.call)

    async def project(self, path: str, take: Callable[[BuiltProject], Awaitable[None]]) -> BuiltProject:
        """Build a project directory, where it stands and whatever was built of it before; errors as for `wheel`.

        Args:
            path: absolute, links resolved.
            take: gets the wheel, whose files are gone afterwards.
        """
        chain = (*self._chain, path)
        return await self._kit.yard.once(chain, path, partial(self._project, path, chain, take))

    async def _once(self, choice: Choice, work: Callable[[], Awaitable[_Result]], *, shares: bool = False) -> _Result:
        self._work.cache.ensure_writable()
        told = settings_text(self._settings)
        file = f"{choice.file.url}#{choice.subdirectory} {choice.sha256}"
        place = f"{shares} {self._interpreter.base_executable} {file} {told}"
        return await self._kit.yard.once(self._chain_to(choice), place, work, shares=shares)

    def _chain_to(self, choice: Choice) -> tuple[str, ...]:
        name = sdist_name(choice.file.filename, choice.wanted.project)
        return (*self._chain, f"{name.project}=={name.version}")

    async def _wheel(self, choice: Choice, take: Take | None) -> Ready:
        if choice.built:
            found = await self._built.find(choice, choice.key, take=take)
            if found is not None:
                return found
        async with self._shops.of_sdist(choice) as shop:
            stated = await in_thread(partial(static_metadata, shop.root))
            if stated is not None:
                check_metadata(stated, sdist_name(choice.file.filename, choice.wanted.project), shop.what)
            async with self._equipped(shop, self._chain_to(choice)) as equipped:
                return await self._build(choice, shop, equipped, take)

    async def _metadata(self, choice: Choice) -> bytes:
        name = sdist_name(choice.file.filename, choice.wanted.project)
        async with self._shops.of_sdist(choice) as shop:
            content = await in_thread(partial(static_metadata, shop.root))
            if content is None:
                async with self._equipped(shop, self._chain_to(choice)) as equipped:
                    content = await self._prepared(shop, equipped)
                    if content is None:
                        return metadata_of(await self._build(choice, shop, equipped, None))
            check_metadata(content, name, shop.what)
            return content

    async def _prepared(self, shop: Shop, equipped: _Equipped) -> bytes | None:
        """Ask the backend for METADATA; None: it does not know before it builds."""
        directory = await in_thread(partial(shop.directory, "metadata"))
        async with self._kit.yard.slot():
            dist_info = await prepare_metadata(equipped.call, directory)
        if dist_info is None:
            return None
        return await in_thread(partial(written_metadata, f"{directory}/{dist_info}/METADATA", shop.what))

    async def _build(self, choice: Choice, shop: Shop, equipped: _Equipped, take: Take | None) -> Ready:
        """Build an sdist in its environment, or find what another one built there meanwhile."""
        within = (choice.subdirectory,) if choice.subdirectory else ()
        full = digest("wheel", shop.content, equipped.environment.digest, settings_text(self._settings), *within)
        key = FileKey(choice.wanted.project, BUILT, full, None)
        keys = (key, choice.key) if choice.built else (key,)
        return await self._kit.yard.alone(
            self._errand(digest("build", full), shop.what),
            find=partial(self._built.find, choice, key, also=keys[1:], take=take),
            build=partial(self._run_backend, shop, equipped),
            finish=partial(self._finish, choice, shop, keys, take),
        )

    def _errand(self, key: str, what: str) -> Errand:
        lock = KeyLock(self._kit.cache.layout.key_lock(key))
        return Errand(lock, f"the build of {what}", self._kit.reporter.waits)

    async def _run_backend(self, shop: Shop, equipped: _Equipped) -> str:
        """Have the wheel built; give its path."""
        reporter, directory = self._kit.reporter, await in_thread(partial(shop.directory, "wheel"))
        started = time.monotonic()
        reporter.build_started(shop.what)
        try:
            return f"{directory}/{await build_wheel(equipped.call, directory)}"
        finally:
            reporter.build_finished(shop.what, time.monotonic() - started)

    async def _finish(self, choice: Choice, shop: Shop, keys: Sequence[FileKey], take: Take | None, path: str) -> Ready:
        """Publish what was built of an sdist."""
        wheel = await self._built.stage(path, shop.what)
        name = sdist_name(choice.file.filename, choice.wanted.project)
        check_is_of(wheel.name, name, self._interpreter, shop.what)
        if take is not None:
            await in_thread(partial(take, wheel.file, wheel.name.filename))
        ready = await self._built.publish(choice, wheel, keys)
        await self._shops.keep_log(shop, name.version)
        return ready

    async def _project(
        self, path: str, chain: tuple[str, ...], take: Callable[[BuiltProject], Awaitable[None]]
    ) -> BuiltProject:
        async def never() -> BuiltProject | None:
            return None

        async def finish(wheel_path: str) -> BuiltProject:
            wheel = await self._built.stage(wheel_path, shop.what)
            built = BuiltProject(wheel, await self._shops.keep_log(shop, wheel.name.version))
            await take(built)
            return built

        async with self._shops.of_directory(path) as shop, self._equipped(shop, chain) as equipped:
            build = partial(self._run_backend, shop, equipped)
            return await self._kit.yard.alone(
                self._errand(digest("project", path), path), find=never, build=build, finish=finish
            )

    @asynccontextmanager
    async def _equipped(self, shop: Shop, chain: tuple[str, ...]) -> AsyncIterator[_Equipped]:
        """Have the backend of a project in an environment with all that it needs, for the length of the block.

        Raises:
            BuildCycleError: it is needed to build itself.
        """
        check_chain(chain)
        requires = shop.system.requires
        home = await in_thread(partial(shop.directory, "home"))
        async with AsyncExitStack() as environments:
            equipped = await environments.enter_async_context(self._environment(shop, chain, requires, home))
            async with self._kit.yard.slot():
                more = await requires_for_wheel(equipped.call)
            if set(more) - set(requires):
                every = tuple(dict.fromkeys((*requires, *more)))
                equipped = await environments.enter_async_context(self._environment(shop, chain, every, home))
            yield equipped

    @asynccontextmanager
    async def _environment(
        self, shop: Shop, chain: tuple[str, ...], requires: tuple[str, ...], home: str
    ) -> AsyncIterator[_Equipped]:
        kit = self._kit
        interpreter = await in_thread(partial(kit.describe_interpreter, self._interpreter.base_executable))
        nested = self._nest(interpreter, chain)
        async with build_environment(kit, nested, interpreter, requires, what=shop.what, link=chain[-1]) as environment:
            lease = self._work.lease
            leases = [None if lease is None else lease.fileno(), environment.descriptor]
            call = BackendCall(
                what=shop.what,
                root=shop.root,
                system=shop.system,
                python=environment.python,
                scripts=environment.scripts,
                log=shop.log,
                home=home,
                time_limit_seconds=kit.config.build_time_limit_seconds,
                variables={**kit.environ, CHAIN_VARIABLE: "\n".join(chain)},
                config_settings=self._settings,
                pass_fds=tuple(each for each in leases if each is not None),
            )
            async with withdrawn_if_changed(kit, environment, shop.what):
                yield _Equipped(call, environment)


def settings_text(settings: Settings) -> str:
    """Write settings in one way, whatever their order."""
    return dump({name: settings[name] for name in sorted(settings)}).decode()
