#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Man pages, completions and protocol numbers say what the programs say, and no more.

man=$top_srcdir/man

# Options in a help text, one a line: -o, --output.
options() {
    grep -oE -- '(^|[[:space:],|[(])--?[a-z][a-z-]*' | grep -oE -- '--?[a-z][a-z-]*' | sort -u
}

# Options in mdoc source: arguments of Fl.
mdoc_options() {
    grep -oE 'Fl [-a-z]+' | sed 's/^Fl /-/' | sort -u
}

same() { # LEFT-NAME LEFT RIGHT-NAME RIGHT
    diff <(echo "$2") <(echo "$4") >"$BATS_TEST_TMPDIR/diff" && return 0
    echo "< only in $1, > only in $3:"
    grep '^[<>]' "$BATS_TEST_TMPDIR/diff"
    return 1
}

section() { # PAGE NAME
    awk -v name="$2" '/^\.Sh / { on = $0 == ".Sh " name } on' "$man/$1"
}

# Synopses of icectl(1), one a line: `io flush`, `slot evict Fl -all`.
synopses() {
    section icectl.1 COMMANDS | awk '
        /^\.It Xo/ { joined = ""; open = 1; next }
        /^\.Xc/ { print joined; open = 0 }
        open { joined = joined " " $0 }
        /^\.It Ic/ { print }' | sed 's/^ *\.\(It \)\?Ic //; s/ \.Op/ Op/g'
}

# The command words of synopses.
command_words() {
    sed 's/ \(Ar\|Fl\|Op\|Cm\) .*//' | sort -u
}

commands_in_help() {
    icectl --help | sed -n 's/^  \([a-z][a-z ]*[a-z]\)  .*/\1/p' | sort
}

# What icectl offers to complete after the given words, the last of which is begun.
completes() {
    bash -c '. "$top_srcdir/completions/icectl.bash"
        COMP_WORDS=(icectl "$@"); COMP_CWORD=$#; _icectl
        [ ${#COMPREPLY[@]} = 0 ] || printf "%s\n" "${COMPREPLY[@]}"' - "$@"
}

@test "man pages are clean under mandoc -T lint" {
    command -v mandoc >/dev/null || skip "mandoc is not installed"
    run mandoc -T lint -W warning "$man"/*.[17]
    echo "$output"
    [ "$status" = 0 ] && [ -z "$output" ]
}

@test "icesim: --help, man page and completion have the same options" {
    help=$(icesim --help | options)
    [ -n "$help" ]
    same --help "$help" synopsis "$(section icesim.1 SYNOPSIS | mdoc_options)"
    same --help "$help" .It "$(section icesim.1 DESCRIPTION | grep '^\.It Fl' | mdoc_options)"
    completion=$(bash -c '. "$top_srcdir/completions/icesim.bash"
        COMP_WORDS=(icesim --); COMP_CWORD=1; _icesim; printf "%s\n" "${COMPREPLY[@]}"' | sort -u)
    same --help "$(echo "$help" | grep '^--')" completion "$completion"
}

@test "icectl: --help, man page and completion have the same options" {
    help=$(icectl --help | options)
    [ -n "$help" ]
    same --help "$help" synopsis "$({
        section icectl.1 SYNOPSIS
        echo Fl -dir Fl -function
    } | mdoc_options)"
    same --help "$help" .It "$(section icectl.1 DESCRIPTION | grep '^\.It Fl' | mdoc_options)"
    same --help "$help" completion "$(completes - | sort -u)"
}

@test "icectl: --help, man page and completion have the same commands" {
    help=$(commands_in_help)
    [ -n "$help" ]
    same --help "$help" icectl.1 "$(synopses | command_words)"
    same --help "$help" completion "$(
        for word in $(completes ''); do
            below=$(completes "$word" '' | grep -v '^-') || true
            if [ -n "$below" ]; then
                echo "$below" | sed "s/^/$word /"
            else
                echo "$word"
            fi
        done | sort
    )"
}

@test "icectl: each command's --help, man page and completion have the same options" {
    while read -r command; do
        echo "icectl $command"
        # shellcheck disable=SC2086 # words
        help=$(icectl $command --help | sed -n '3,$p' | options | grep -vx -- --help) || true
        same --help "$help" icectl.1 "$(synopses | grep -E "^$command( |\$)" | mdoc_options)"
        # shellcheck disable=SC2086
        same --help "$help" completion "$(completes $command - | grep -vx -- --help | sort -u)"
    done < <(commands_in_help)
}

@test "icesim-vhost-user(7) has the refusals of the source, and what is offered" {
    page=$man/icesim-vhost-user.7
    python3 "$top_srcdir/build-aux/refusals-table.py" | diff - "$page"
    named=$(grep -oE 'X\([A-Z_]+, *"[a-z-]+"' "$top_srcdir/src/vhost_user/refusal.h" | wc -l)
    [ "$named" -gt 30 ]
    same page "$(section icesim-vhost-user.7 REFUSALS | grep -c '^\.It Cm ')" source "$named"
    messages=$(grep -ohE '\[VHOST_USER_[A-Z_]+\]|(KIND|EMPTY)\([A-Z_]+,' "$top_srcdir"/src/vhost_user/*.c |
        sed 's/\[VHOST_USER_//; s/\(KIND\|EMPTY\)(//; s/[],]$//' | sort -u)
    same page "$(awk '/^\.Ss / { on = $2 == "Messages" } on && /^[A-Z_]+[, ]/' "$page" |
        sed '/^Any other/,$d; s/(ignored)//' | grep -oE '[A-Z_]{8,}' | sort -u)" source "$messages"
    features=$(grep -ohE 'PROTOCOL_BIT\([A-Z_]+\)' "$top_srcdir"/src/vhost_user/*.c | sort -u |
        sed 's/.*(\(.*\))/\1/')
    same page "$(sed -n 's/^\.It [0-9]* Ta \([A-Z_]*\) Ta.*/\1/p' "$page" | sort)" source "$features"
}

@test "protocol numbers are in the grammar of icesim-protocol(7)" {
    while read -r name number; do
        grep -qE "= \[$number," "$man/icesim-protocol.7" || {
            echo "$name = $number is not in the grammar"
            false
        }
    done < <(sed -n 's/^ *\(MESSAGE_[A-Z_]*\) = \([0-9]*\),.*/\1 \2/p' \
        "$top_srcdir/src/frame/protocol.h")
    known=$(grep -oE '^ *[a-z-]+ += \[[0-9]+,' "$man/icesim-protocol.7" | grep -oE '[0-9]+' |
        sort -un | tr '\n' ' ')
    enum=$(sed -n 's/^ *MESSAGE_[A-Z_]* = \([0-9]*\),.*/\1/p' "$top_srcdir/src/frame/protocol.h" |
        sort -un | tr '\n' ' ')
    [ "$known" = "$enum" ]
}
