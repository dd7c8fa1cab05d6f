# SPDX-License-Identifier: BSD-2-Clause
# bash completion for icesim(1)

_icesim()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local options='--image --size --slots --dialect --strict --function --reserve --unsafe-overlap
        --unsafe-monitor --state --bitlocker-iv --dir --mount --allow-root --vhost-user
        --fd --socket-path --blk-file --read-only --print-capabilities --run --pidfile
        --stop-timeout --log-level --no-mlock --help --version'

    case $previous in
    --image | --pidfile | --state | --socket-path | --blk-file) COMPREPLY=($(compgen -f -- "$current")) ;;
    --dir | --mount) COMPREPLY=($(compgen -d -- "$current")) ;;
    --dialect) COMPREPLY=($(compgen -W 'ice1 ice2 inline' -- "$current")) ;;
    --log-level) COMPREPLY=($(compgen -W 'error warning info debug' -- "$current")) ;;
    --run) COMPREPLY=($(compgen -c -- "$current")) ;;
    --bitlocker-iv) COMPREPLY=($(compgen -W 'offset dun' -- "$current")) ;;
    --size | --slots | --stop-timeout | --function | --reserve | --vhost-user | --fd) COMPREPLY=() ;;
    *) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    esac
}

complete -o filenames -F _icesim icesim
