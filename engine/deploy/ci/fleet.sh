#!/bin/sh
# What a fleet's pipeline does: sh fleet.sh DIRECTORY-OF-THE-PROGRAMS REPORT
#
# DECLARATIONS and TOPOLOGIES are patterns of files, LEVEL is where hosts run (netns). Every declaration is checked and built; what is wrong, what each
# host would have and what came of each topology lies in the directory REPORT. Ends with 1 where anything is wrong.
set -eu

programs=$(cd "${1:?the directory of the programs}" && pwd)
mkdir -p "${2:?the directory for the report}"
report=$(cd "$2" && pwd)
failed=0

# Patterns are the caller's, and expanded here.
# shellcheck disable=SC2086
set -- ${DECLARATIONS:?patterns of declarations}
[ -e "$1" ] || { echo "no file is named like $DECLARATIONS" >&2; exit 1; }

# All of them, and all that is wrong: for people, and for programs.
"$programs/mailstack" check "$@" 2>"$report/check.txt" || failed=1
cat "$report/check.txt"
"$programs/mailstack" check --json "$@" >"$report/check.json" 2>/dev/null || failed=1

for file; do
    name=$(printf '%s' "${file%.toml}" | tr / _)
    if digest=$("$programs/mailstack" build "$file" --output "$report/generations/$name" 2>"$report/build.txt"); then
        printf '%s %s\n' "$digest" "$file"
    else
        cat "$report/build.txt" >&2
        failed=1
    fi
done >"$report/digests.txt"
rm -f "$report/build.txt"
cat "$report/digests.txt"

if [ -n "${TOPOLOGIES:-}" ]; then
    # shellcheck disable=SC2086
    set -- $TOPOLOGIES
    # Hosts need root.
    sudo="" && [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo "$programs/mailstack-vmtests" run "$@" --level "${LEVEL:-netns}" >"$report/topologies.txt" 2>&1 || failed=1
    cat "$report/topologies.txt"
fi
exit $failed
