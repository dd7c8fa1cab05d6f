# SPDX-License-Identifier: BSD-2-Clause
# bash completion for icesim(1)

_icesim()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local options='--image --size --slots --dialect --dir --mount --allow-root --run --pidfile
        --stop-timeout --log-level --no-mlock --help --version'

    case $previous in
    --image | --pidfile) COMPREPLY=($(compgen -f -- "$current")) ;;
    --dir | --mount) COMPREPLY=($(compgen -d -- "$current")) ;;
    --dialect) COMPREPLY=($(compgen -W 'ice2' -- "$current")) ;;
    --log-level) COMPREPLY=($(compgen -W 'error warning info debug' -- "$current")) ;;
    --run) COMPREPLY=($(compgen -c -- "$current")) ;;
    --size | --slots | --stop-timeout) COMPREPLY=() ;;
    *) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    esac
}

complete -o filenames -F _icesim icesim
