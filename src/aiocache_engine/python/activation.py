"""The scripts that switch a shell over to an environment: sh (bash, zsh, dash), fish, csh, PowerShell.

Each sets VIRTUAL_ENV, puts the scripts directory first on PATH, marks the prompt, and defines `deactivate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_MARKS = re.compile("(@ROOT@|@SCRIPTS@|@PROMPT@)")

_SH = r"""# Source this file from bash, zsh or another POSIX shell: . bin/activate

deactivate () {
    if [ -n "${_AIOC_HAD_PATH:-}" ]; then
        PATH="$_AIOC_OLD_PATH"
        export PATH
    fi
    if [ -n "${_AIOC_HAD_PYTHONHOME:-}" ]; then
        PYTHONHOME="$_AIOC_OLD_PYTHONHOME"
        export PYTHONHOME
    fi
    if [ -n "${_AIOC_HAD_PS1:-}" ]; then
        PS1="$_AIOC_OLD_PS1"
    fi
    unset _AIOC_HAD_PATH _AIOC_OLD_PATH _AIOC_HAD_PYTHONHOME _AIOC_OLD_PYTHONHOME _AIOC_HAD_PS1 _AIOC_OLD_PS1
    unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    hash -r 2>/dev/null || true
    if [ "${1:-}" != nondestructive ]; then
        unset -f deactivate
    fi
}

deactivate nondestructive

VIRTUAL_ENV=@ROOT@
VIRTUAL_ENV_PROMPT=@PROMPT@
export VIRTUAL_ENV VIRTUAL_ENV_PROMPT

_AIOC_HAD_PATH=1
_AIOC_OLD_PATH="$PATH"
PATH="$VIRTUAL_ENV"/@SCRIPTS@":$PATH"
export PATH

if [ -n "${PYTHONHOME:-}" ]; then
    _AIOC_HAD_PYTHONHOME=1
    _AIOC_OLD_PYTHONHOME="$PYTHONHOME"
    unset PYTHONHOME
fi

if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT:-}" ]; then
    _AIOC_HAD_PS1=1
    _AIOC_OLD_PS1="${PS1:-}"
    PS1="($VIRTUAL_ENV_PROMPT) ${PS1:-}"
fi

hash -r 2>/dev/null || true
"""

_FISH = r"""# Source this file from fish: source bin/activate.fish

function deactivate -d 'Leave the environment'
    if set -q _AIOC_OLD_PATH
        set -gx PATH $_AIOC_OLD_PATH
        set -e _AIOC_OLD_PATH
    end
    if set -q _AIOC_OLD_PYTHONHOME
        set -gx PYTHONHOME $_AIOC_OLD_PYTHONHOME
        set -e _AIOC_OLD_PYTHONHOME
    end
    if functions -q _aioc_old_fish_prompt
        functions -e fish_prompt
        functions -c _aioc_old_fish_prompt fish_prompt
        functions -e _aioc_old_fish_prompt
    end
    set -e VIRTUAL_ENV
    set -e VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != nondestructive
        functions -e deactivate
    end
end

deactivate nondestructive

set -gx VIRTUAL_ENV @ROOT@
set -gx VIRTUAL_ENV_PROMPT @PROMPT@
set -g _AIOC_OLD_PATH $PATH
set -gx PATH "$VIRTUAL_ENV"/@SCRIPTS@ $PATH

if set -q PYTHONHOME
    set -g _AIOC_OLD_PYTHONHOME $PYTHONHOME
    set -e PYTHONHOME
end

if test -z "$VIRTUAL_ENV_DISABLE_PROMPT"; and functions -q fish_prompt
    functions -c fish_prompt _aioc_old_fish_prompt
    function fish_prompt
        set -l _aioc_last_status $status
        printf '(%s) ' $VIRTUAL_ENV_PROMPT
        echo "exit $_aioc_last_status" | source
        _aioc_old_fish_prompt
    end
end
"""

_CSH = r"""# Source this file from csh or tcsh: source bin/activate.csh

alias _aioc_path 'test $?_AIOC_OLD_PATH = 1 && setenv PATH "$_AIOC_OLD_PATH" && unset _AIOC_OLD_PATH'
alias _aioc_prompt 'test $?_AIOC_OLD_PROMPT = 1 && set prompt="$_AIOC_OLD_PROMPT" && unset _AIOC_OLD_PROMPT'
alias _aioc_leave 'unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; rehash'
alias deactivate '_aioc_path; _aioc_prompt; _aioc_leave; test "\!:*" = nondestructive || unalias deactivate'

deactivate nondestructive

setenv VIRTUAL_ENV @ROOT@
setenv VIRTUAL_ENV_PROMPT @PROMPT@
set _AIOC_OLD_PATH="$PATH"
setenv PATH "$VIRTUAL_ENV"/@SCRIPTS@":$PATH"

if ($?prompt && ! $?VIRTUAL_ENV_DISABLE_PROMPT) then
    set _AIOC_OLD_PROMPT="$prompt"
    set prompt="($VIRTUAL_ENV_PROMPT) $prompt"
endif

rehash
"""

_POWERSHELL = r"""# Run this file from PowerShell: . bin/Activate.ps1

function global:deactivate ([switch]$NonDestructive) {
    if (Test-Path variable:global:_AIOC_OLD_PATH) {
        $env:PATH = $global:_AIOC_OLD_PATH
        Remove-Variable -Name _AIOC_OLD_PATH -Scope global
    }
    if (Test-Path variable:global:_AIOC_OLD_PYTHONHOME) {
        $env:PYTHONHOME = $global:_AIOC_OLD_PYTHONHOME
        Remove-Variable -Name _AIOC_OLD_PYTHONHOME -Scope global
    }
    if (Test-Path function:global:_aioc_old_prompt) {
        Copy-Item -Path function:global:_aioc_old_prompt -Destination function:global:prompt
        Remove-Item -Path function:global:_aioc_old_prompt
    }
    Remove-Item -Path env:VIRTUAL_ENV, env:VIRTUAL_ENV_PROMPT -ErrorAction SilentlyContinue
    if (-not $NonDestructive) {
        Remove-Item -Path function:global:deactivate
    }
}

deactivate -NonDestructive

$env:VIRTUAL_ENV = @ROOT@
$env:VIRTUAL_ENV_PROMPT = @PROMPT@
$global:_AIOC_OLD_PATH = $env:PATH
$env:PATH = (Join-Path $env:VIRTUAL_ENV @SCRIPTS@) + [System.IO.Path]::PathSeparator + $env:PATH

if ($env:PYTHONHOME) {
    $global:_AIOC_OLD_PYTHONHOME = $env:PYTHONHOME
    Remove-Item -Path env:PYTHONHOME
}

if (-not $env:VIRTUAL_ENV_DISABLE_PROMPT) {
    Copy-Item -Path function:prompt -Destination function:global:_aioc_old_prompt
    function global:prompt {
        Write-Host -NoNewline "($env:VIRTUAL_ENV_PROMPT) "
        _aioc_old_prompt
    }
}
"""


def activation_scripts(root: str, *, scripts: str, prompt: str) -> dict[str, str]:
    """Give the text of each activation script by its file name.

    Args:
        root: absolute path of the environment.
        scripts: its scripts directory, relative to the root.
        prompt: what the shell shows while the environment is active.
    """
    return {
        name: _fill(template, quote, root=root, scripts=scripts, prompt=prompt)
        for name, template, quote in (
            ("activate", _SH, _quote_sh),
            ("activate.fish", _FISH, _quote_fish),
            ("activate.csh", _CSH, _quote_csh),
            ("Activate.ps1", _POWERSHELL, _quote_powershell),
        )
    }


def _fill(template: str, quote: Callable[[str], str], *, root: str, scripts: str, prompt: str) -> str:
    values = {"@ROOT@": root, "@SCRIPTS@": scripts, "@PROMPT@": prompt}
    # In one pass: a path or a prompt may itself look like a mark.
    return "".join(quote(values[part]) if part in values else part for part in _MARKS.split(template))


def _quote_sh(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _quote_csh(text: str) -> str:
    return _quote_sh(text).replace("!", "\\!")


def _quote_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quote_powershell(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
