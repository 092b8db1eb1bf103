#!/usr/bin/env bash
# Restore what appears in a folder, and in the folders below it, until Ctrl-C:
#
#   examples/watch_folder.sh INBOX OUTPUT [OPTIONS OF dpdeblur run...]
#
# A round begins when nothing in INBOX has changed for SETTLE_S seconds (5 by default), so that no half-copied file and
# no pair without its other half is taken. What is done is skipped, so stopping and starting again costs nothing.
# ROUNDS=N stops after N rounds.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 INBOX OUTPUT [OPTIONS...]" >&2
  exit 2
fi
inbox=$1 output=$2
shift 2

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
touch "$state/before"
is_new=yes
rounds=0
while [ "$rounds" -lt "${ROUNDS:-999999999}" ]; do
  sleep "${SETTLE_S:-5}"
  touch "$state/now"
  # -cnewer: a file that was moved or copied here with its old date has arrived now all the same
  if [ -n "$(find "$inbox" -type f -cnewer "$state/before" -print | head -n 1)" ]; then
    is_new=yes
  elif [ "$is_new" = yes ]; then
    is_new=no
    rounds=$((rounds + 1))
    code=0
    dpdeblur run "$inbox" --recursive --output "$output" "$@" || code=$?
    case $code in
      0 | 1 | 3) ;; # done, or some failed and were named, or nothing there yet: go on watching
      *) exit "$code" ;;
    esac
  fi
  mv "$state/now" "$state/before"
done
