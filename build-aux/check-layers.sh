#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Who may include whom. One TAP line per folder of src/; a folder that the table does not know fails.
# `top_srcdir` says where the tree is (default: the current folder).

cd "${top_srcdir:-.}/src" || exit 1

# folder: folders that it may include, besides itself
layers='
base:
virtio:
dialect: virtio base
cipher: base
media: base
engine: cipher base
device: engine media dialect virtio base
observe: device virtio base
blkcrypto: dialect cipher virtio base
frame: base
client: frame dialect virtio base
fuse_front: blkcrypto base
vhost_user: device virtio base
icesim: observe device engine media blkcrypto cipher dialect virtio frame fuse_front vhost_user base
icectl: client frame dialect virtio base
'

# headers of libraries (patterns): the only folders that may include them
owners='
gcrypt.h: cipher
cbor.h: frame
cbor/*: frame
fuse*: fuse_front
linux/fuse.h: fuse_front
argtable*: icesim icectl
openssl/*:
'

# Prints each include of a folder as FILE:LINE KIND NAME, KIND being quote or angle.
includes() {
    awk '/^[ \t]*#[ \t]*include/ {
        line = $0
        if (match(line, /"[^"]*"/)) kind = "quote"
        else if (match(line, /<[^>]*>/)) kind = "angle"
        else next
        print FILENAME ":" FNR, kind, substr(line, RSTART + 1, RLENGTH - 2)
    }' "$1"/*.[ch]
}

# word LIST WORD: is WORD in LIST?
word() {
    case " $1 " in *" $2 "*) return 0 ;; esac
    return 1
}

check_quote() { # FOLDER ALLOWED PLACE NAME
    target=${4%%/*}
    if [ "$target" = "$4" ]; then # of its own folder
        [ -f "$1/$4" ] || echo "$3 includes \"$4\", which is not in src/$1"
    elif ! word "$1 $2" "$target"; then
        echo "$3 includes \"$4\"; src/$1 may include: $1 $2"
    elif [ ! -f "$4" ]; then
        echo "$3 includes \"$4\", which is not there"
    fi
}

check_angle() { # FOLDER PLACE NAME
    echo "$owners" | while IFS=: read -r pattern folders; do
        # shellcheck disable=SC2254 # a pattern is meant
        case $3 in
        $pattern) [ -z "$pattern" ] || word "$folders" "$1" ||
            echo "$2 includes <$3>, which belongs to:${folders:- nobody}" ;;
        esac
    done
}

number=0
failed=0
for folder in *; do
    [ -d "$folder" ] || continue
    set -- "$folder"/*.[ch]
    [ -e "$1" ] || continue
    number=$((number + 1))
    row=$(echo "$layers" | grep "^$folder:")
    if [ -z "$row" ]; then
        wrong="src/$folder is not in the table of build-aux/check-layers.sh"
    else
        allowed=${row#*: }
        [ "$allowed" != "$row" ] || allowed=
        wrong=$(includes "$folder" | while read -r place kind name; do
            case $kind in
            quote) check_quote "$folder" "$allowed" "$place" "$name" ;;
            angle) check_angle "$folder" "$place" "$name" ;;
            esac
        done)
    fi
    if [ -z "$wrong" ]; then
        echo "ok $number - includes of src/$folder"
    else
        echo "not ok $number - includes of src/$folder"
        echo "$wrong" | sed 's/^/# /'
        failed=1
    fi
done
echo "1..$number"
exit $failed
