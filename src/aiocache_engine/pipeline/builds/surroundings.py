"""What a build backend finds around it: variables that make its work repeatable and lend it no secret of ours.

This is no sandbox. A build runs as the same user and may read what that user may read; it is only handed nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from aiocache_engine.hints import Final

_FIRST_MOMENT_OF_ZIP: Final = "315532800"  # 1980-01-01T00:00:00Z
_INSTALLERS: Final = ("PIP_", "UV_", "TWINE_", "HATCH_INDEX_")
_OUR_INDEXES: Final = {"AIOC_INDEX_URL", "AIOC_EXTRA_INDEX_URL", "AIOC_FIND_LINKS"}
_SECRET_WORD: Final = re.compile(
    r"TOKEN|PASSWORD|PASSWD|PASSPHRASE|PASSFILE|SECRET|CREDENTIAL|CONNECTION_?STRING|COOKIE|BEARER"
    r"|(^|_)(AUTH|PAT|PASS|PWORD|JWT)($|_)|_(PWD|KEYS?)($|_)|(API|ACCESS|PRIVATE|SIGNING)_?KEY"
)
#: Programs and agents that give out secrets, and files that hold them.
_GIVERS: Final = {
    "AWS_CONFIG_FILE",
    "BOTO_CONFIG",
    "CLOUDSDK_CONFIG",
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_CONFIG",
    "GIT_ASKPASS",
    "GNUPGHOME",
    "GPG_AGENT_INFO",
    "KUBECONFIG",
    "NETRC",
    "NPM_CONFIG_USERCONFIG",
    "PGSERVICEFILE",
    "SSH_AGENT_PID",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
    "SUDO_ASKPASS",
    "XAUTHORITY",
}
_GIVER_PREFIXES: Final = ("GIT_CONFIG", "XDG_")
_URL_WITH_USER: Final = re.compile(r"://\S*@")
_OTHER_ENVIRONMENT: Final = {"VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__"}


def backend_environ(variables: Mapping[str, str], *, home: str, scripts: str) -> dict[str, str]:
    """Give the variables of a backend. Makes the directory for its temporary files, ``tmp`` in its home.

    Left out: settings of installers and uploaders (PIP_*, UV_*, …) and ours that name indexes; what is named like a
    secret (…TOKEN…, …PASSWORD…, …); what leads to agents, keyrings and files of secrets (SSH_AUTH_SOCK, NETRC, XDG_*,
    …); every value with a URL that names a user, proxies included; PYTHON*, which would bring in modules, warnings or
    hash seeds of this process; and the environment that is active here.

    Set: HOME and the directory of temporary files; PATH begins with the build environment's commands, VIRTUAL_ENV is
    it; SOURCE_DATE_EPOCH as given, else the first moment that zip files know; a fixed hash seed; and that Python writes
    no bytecode, which would change an environment that others share. RUSTUP_HOME leads to the toolchains of the real
    home, which rustup's commands on PATH need and which hold no secret.

    Args:
        variables: to start from.
        home: an existing directory, for this build alone.
        scripts: the directory of the build environment's commands.
    """
    temporary = os.path.join(home, "tmp")
    os.makedirs(temporary, exist_ok=True)
    kept = {name: text for name, text in variables.items() if _is_kept(name.upper(), text)}
    toolchains = os.path.join(variables.get("HOME", ""), ".rustup")
    if os.path.isdir(toolchains):
        kept.setdefault("RUSTUP_HOME", toolchains)
    kept.setdefault("SOURCE_DATE_EPOCH", _FIRST_MOMENT_OF_ZIP)
    path = variables.get("PATH", os.defpath)
    return kept | {
        "HOME": home,
        "USERPROFILE": home,
        "TMPDIR": temporary,
        "TEMP": temporary,
        "TMP": temporary,
        "PATH": f"{scripts}{os.pathsep}{path}",
        "VIRTUAL_ENV": os.path.dirname(scripts),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
    }


def _is_kept(name: str, text: str) -> bool:
    return not (
        name.startswith((*_INSTALLERS, *_GIVER_PREFIXES, "PYTHON"))
        or name in _OUR_INDEXES
        or name in _GIVERS
        or name in _OTHER_ENVIRONMENT
        or _SECRET_WORD.search(name)
        or _URL_WITH_USER.search(text)
    )
