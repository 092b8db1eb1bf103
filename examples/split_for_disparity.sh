#!/usr/bin/env bash
# Export the views of dual-pixel photos and hand each pair to a program that measures disparity:
#
#   examples/split_for_disparity.sh PHOTOS OUTPUT [MATCHER...]
#
# MATCHER is called as MATCHER LEFT RIGHT RESULT for each photo; by default it is examples/match_views.py, which uses
# OpenCV's semi-global matching. Results that are there already are kept. Photos with one view are passed by.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 PHOTOS OUTPUT [MATCHER...]" >&2
  exit 2
fi
photos=$1 output=$2
shift 2
if [ $# -eq 0 ]; then
  set -- python3 "$(dirname "$0")/match_views.py"
fi

code=0
dpdeblur split "$photos" --recursive --output "$output" || code=$?
[ "$code" -le 1 ] || exit "$code"

find "$output" -type f -name '*_left.tif' -print0 | while IFS= read -r -d '' left; do
  stem=${left%_left.tif}
  if [ ! -e "${stem}_disparity.tif" ]; then
    "$@" "$left" "${stem}_right.tif" "${stem}_disparity.tif"
  fi
done
exit "$code"
