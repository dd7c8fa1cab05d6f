#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The guest's end of lib.bash, on the terminal that is its standard input and output: runs a script
# that comes in lines up to `. TAG`, and ends its output by a line `= TAG STATUS =`. Tag 0 says that it
# is there.

stty raw -echo
printf '\n= 0 0 =\n'
script=''
while read -r line; do
    case $line in
    '. '*)
        (eval "$script") </dev/null 2>&1
        printf '\n= %s %s =\n' "${line#. }" "$?"
        script=''
        ;;
    *)
        script="$script$line
"
        ;;
    esac
done
