"""The door to pip: what its configuration files say, where they are, and what its default index is.

pip is the one authority for both. Its internals are imported here and nowhere else, only when the memo
(`settings_memo`) does not know the answer, and a release of pip that moved them gives one clear error.
Environment variables are read by `settings`: here they only steer which files there are, as they do in pip.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiocache_engine.errors import IndexSettingsError
from aiocache_engine.hints import Any
from aiocache_engine.model.value import value

_SECTIONS = ("global", "download", "install")  #: later ones win, as pip's own command section wins over `global`
_ENVIRONMENT = "env-var"  #: pip's word for what it read from `PIP_*` variables


@value
class PipFiles:
    """What pip's configuration files say together."""

    values: Mapping[str, str]  #: option name without dashes in front -> value, never empty
    paths: tuple[str, ...]  #: every file that pip would read, present or not
    default_index_url: str


def read_pip_files() -> PipFiles:
    """Read pip's configuration files as pip reads them, in its order.

    Raises:
        IndexSettingsError: a file is malformed, or this pip keeps its configuration elsewhere.
    """
    try:
        from pip._internal.configuration import OVERRIDE_ORDER, Configuration  # noqa: PLC0415 - costs 50 ms
        from pip._internal.exceptions import ConfigurationError  # noqa: PLC0415
        from pip._internal.models.index import PyPI  # noqa: PLC0415
    except ImportError as error:
        raise _moved() from error
    try:
        configuration = Configuration(isolated=False)
        configuration.load()
        paths = tuple(path for _, group in configuration.iter_config_files() for path in group)
        layers = [configuration.get_values_in_config(kind) for kind in OVERRIDE_ORDER if kind != _ENVIRONMENT]
        return PipFiles(values=_merged(layers), paths=paths, default_index_url=PyPI.simple_url)
    except ConfigurationError as error:
        raise IndexSettingsError("pip's configuration", str(error).strip()) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise _moved() from error


def _merged(layers: list[dict[str, Any]]) -> dict[str, str]:
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for layer in layers:
        for name, text in _flat(layer).items():
            section, _, option = name.partition(".")
            if section in sections:
                sections[section][option] = text
    merged: dict[str, str] = {}
    for name in _SECTIONS:
        # An empty value is no value: it hides the same key of an earlier file, not that of another section.
        merged |= {option: text for option, text in sections[name].items() if text}
    return merged


def _flat(layer: dict[str, Any]) -> dict[str, str]:
    """Give "section.option" -> value; pip keeps them by file in newer releases, and in one dictionary in older ones."""
    flat: dict[str, str] = {}
    for name, content in layer.items():
        flat |= content if isinstance(content, dict) else {name: content}
    return flat


def _moved() -> IndexSettingsError:
    import pip  # noqa: PLC0415 - only to name its version

    return IndexSettingsError(
        f"pip {pip.__version__}",
        "its configuration is not where this release expects it; install another pip beside aiocache-engine (24 to 26)",
    )
