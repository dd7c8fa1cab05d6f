# SPDX-License-Identifier: BSD-2-Clause
#
# What the tests with a vhost-user front end share: vm0 is served at $T/guest.

load helpers

setup() {
    common_setup
    requires vhost-frontend
}

teardown() {
    local pid
    touch "$T/enough"
    for pid in ${front_PID:-} "${servers[@]}"; do
        pkill -KILL -P "$pid" || true
        ! alive "$pid" || kill -KILL "$pid"
    done
    clean_up
}

start_vhost() { # [OPTION...]
    start --image img --vhost-user vm0="$T/guest" "$@"
}

front() { # [OPTION...] COMMAND [OPTION...]
    at_length vhost-frontend -s "$T/guest" "$@" 3>&-
}

# A front end that stays connected, and takes a command at a time.
begin_front() { # [OPTION...]
    coproc front { exec vhost-frontend -s "$T/guest" "$@" batch 2>front.log 3>&-; }
}

# Leaves the answer in $answer, and its status in $got. The front end has a patience of its own.
tell_front() { # COMMAND [OPTION...]
    echo "$*" >&"${front[1]}"
    read -r -t $((2 * patience)) -u "${front[0]}" answer || {
        echo "no answer to $*:"
        cat front.log
        return 1
    }
    echo "$answer"
    got=$(jq .status <<<"$answer")
}

# The next command has to end with this status.
front_says() { # STATUS COMMAND [OPTION...]
    local want=$1
    shift
    tell_front "$@" && is "$got" "$want" "status of $*"
}

end_front() {
    local pid=$front_PID to=${front[1]}
    exec {to}>&-
    wait "$pid"
}

# What `io --image` says there should be is stored so.
stored_is() { # FILE SECTOR [ALG DUN KEY-FILE]
    if [ $# -gt 2 ]; then
        requires icerefcrypt
        icerefcrypt enc "$3" 4096 "$4" "$5" <"$1" >ciphertext
        set -- ciphertext "$2"
    fi
    tail -c +$(($2 * 512 + 1)) img | head -c "$(stat -c %s "$1")" | cmp - "$1"
}

fingerprint() { # KEY-FILE
    { printf 'icesim key\0' && cat "$1"; } | sha256sum | head -c 16
}

slot_column() { # KEY
    icectl --json slot list | jq -c "map(.$1)"
}
