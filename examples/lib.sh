# SPDX-License-Identifier: BSD-2-Clause
#
# What the examples share: a folder to work in, the programs, and how a step is shown. To be sourced
# first, by a script that ends by calling `all_done`. `leave` may be defined, to undo what the script
# did, in the order it must be; $server is ended after it.

set -eu
umask 077

example=$(basename "$0" .sh)
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/icesim-$example.XXXXXX")
server='' doing='starting'

leave() {
    :
}

clean_up() {
    status=$?
    set +e
    cd /
    leave
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null
    rm -rf "$work"
    [ "$status" = 0 ] || echo "$example: FAILED while $doing" >&2
    exit "$status"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

step() {
    doing=$1
    printf '\n# %s\n' "$1"
}

# Prints a command line and runs it.
run() {
    printf '$ %s\n' "$1"
    eval "$1"
}

# `refused COMMAND-LINE`: it must fail, with one line that says why.
refused() {
    printf '$ %s\n' "$1"
    if eval "$1" >/dev/null; then
        echo "$example: this should have been refused" >&2
        exit 1
    fi
}

# Stops the server, which must end well.
stop_server() {
    run 'kill $server && wait $server'
    server=''
}

all_done() {
    echo
    echo "$example: ok"
}

# ---- programs ----

install_missing() {
    local package sudo='' missing=()
    command -v dpkg-query >/dev/null || return 0
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || sudo=sudo
    step "installing ${missing[*]}"
    {
        $sudo apt-get -qq update
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
            "${missing[@]}"
    } >"$work/log" 2>&1 </dev/null || {
        tail -n 20 "$work/log" >&2
        exit 1
    }
}

build() {
    [ -f "$here/configure.ac" ] || {
        echo "$example: icesim is not installed, and $here is not its source" >&2
        exit 1
    }
    install_missing autoconf automake libtool pkg-config gcc libc6-dev make \
        libfuse3-dev libgcrypt20-dev libcbor-dev libargtable2-dev
    step "building icesim"
    mkdir "$work/source" "$work/build"
    tar -C "$here" --exclude=./.git --exclude=./config.status --exclude=./Makefile \
        --exclude='*.o' --exclude='*.a' --exclude=.deps -cf - . | tar -C "$work/source" -xf -
    {
        cd "$work/source" && autoreconf -fi && cd "$work/build" && ../source/configure &&
            make -j"$(nproc)"
    } >"$work/log" 2>&1 || {
        tail -n 40 "$work/log" >&2
        exit 1
    }
    PATH=$work/build:$PATH
}

find_programs() {
    local folder
    for folder in "$here" "$here/build"; do
        [ ! -x "$folder/icesim" ] || [ ! -x "$folder/icectl" ] || PATH=$folder:$PATH
    done
    command -v icesim >/dev/null && command -v icectl >/dev/null || build
    echo "icesim: $(command -v icesim), icectl: $(command -v icectl)"
}
