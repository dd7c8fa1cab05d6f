# SPDX-License-Identifier: BSD-2-Clause
# bash completion for icectl(1)

_icectl_options()
{
    case $1 in
    '') echo '-d --dir -f --function --json --timeout --help --version' ;;
    caps) echo '--require --help' ;;
    'slot program') echo '--alg --key-file --data-unit --wrapped --via --help' ;;
    'slot evict') echo '--all --via --help' ;;
    'key generate') echo '-o --output --via --help' ;;
    'key import' | 'key prepare' | 'key derive') echo '--key-file -o --output --via --help' ;;
    'io read') echo '--sector --count --slot --dun --data-unit -o --output --help' ;;
    'io write') echo '--sector --slot --dun --data-unit --help' ;;
    'view add')
        echo '--alg --key-file --data-unit --wrapped --sector --count --dun --fallback --help'
        ;;
    'view remove') echo '--wait --help' ;;
    'layer add') echo '--map --help' ;;
    'io discard' | 'io zero' | 'io erase') echo '--sector --count --help' ;;
    reset) echo '--scope --help' ;;
    batch) echo '--keep-going --help' ;;
    *) echo '--help' ;;
    esac
}

# What may follow the command words so far.
_icectl_words()
{
    case $1 in
    '') echo 'wait info caps slot key io function view layer resize reset stats batch' ;;
    slot) echo 'list program evict' ;;
    key) echo 'generate import prepare derive' ;;
    function | view | layer) echo 'list add remove' ;;
    io) echo 'read write flush id lifetime discard zero erase' ;;
    esac
}

# Options that take a value, which is no command word.
_icectl_takes_value()
{
    case $1 in
    -d | --dir | -f | --function | --timeout | --alg | --key-file | --data-unit | --sector | \
        --count | --slot | --dun | -o | --output | --scope | --via | --require | \
        --fallback | --map) return 0 ;;
    esac
    return 1
}

_icectl()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local i command='' words
    local algorithms='aes-128-xts aes-256-xts
        aes-128-cbc-essiv aes-192-cbc-essiv aes-256-cbc-essiv
        aes-128-cbc-bitlocker aes-192-cbc-bitlocker aes-256-cbc-bitlocker
        aes-128-ecb aes-192-ecb aes-256-ecb'

    COMPREPLY=()
    if _icectl_takes_value "$previous"; then
        case $previous in
        -d | --dir) COMPREPLY=($(compgen -d -- "$current")) ;;
        --key-file | -o | --output) COMPREPLY=($(compgen -f -- "$current")) ;;
        --alg) COMPREPLY=($(compgen -W "$algorithms" -- "$current")) ;;
        --data-unit) COMPREPLY=($(compgen -W '512 1K 2K 4K 8K 16K 32K 64K' -- "$current")) ;;
        --via) COMPREPLY=($(compgen -W 'in-band out-of-band' -- "$current")) ;;
        --require) COMPREPLY=($(compgen -W "$algorithms" -- "$current")) ;;
        --fallback) COMPREPLY=($(compgen -W 'auto forbid force' -- "$current")) ;;
        --map) COMPREPLY=($(compgen -W 'linear striped' -- "$current")) ;;
        --scope) COMPREPLY=($(compgen -W 'device function engine' -- "$current")) ;;
        esac
        return
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        if _icectl_takes_value "${COMP_WORDS[i]}"; then
            i=$((i + 1))
        elif words=$(_icectl_words "$command") && [[ " $words " == *" ${COMP_WORDS[i]} "* ]]; then
            command="${command:+$command }${COMP_WORDS[i]}"
        fi
    done
    words=$(_icectl_words "$command")
    if [[ $current == -* || -z $words ]]; then
        words="$words $(_icectl_options "$command")"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ $command != 'io write' && ($command != batch || -z $current) ]] ||
        COMPREPLY+=($(compgen -f -- "$current"))
}

complete -o filenames -F _icectl icectl
