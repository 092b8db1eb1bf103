#!/usr/bin/env bash
# Restore the photos that were marked in Lightroom or darktable, and bring the results back with their metadata:
#
#   examples/catalogue_round_trip.sh PHOTOS [OPTIONS OF dpdeblur run...]
#
# 1. In the catalogue, give the photos the keyword "deblur" and save the metadata to files (Lightroom: Ctrl+S;
#    darktable: does so by itself). Both write XMP sidecars: IMG_1.xmp, or IMG_1.cr2.xmp.
# 2. Run this. Each marked photo is restored into the folder deblurred/ beside it; its rating, colour label, keywords,
#    title, description, creator and rights are copied into the result, with "deblurred" in place of "deblur".
#    Development settings are not copied: the result is developed already.
# 3. Let the catalogue look for new files (Lightroom: Synchronize Folder; darktable: add to library).
#
# KEYWORD=other looks for another keyword. The options may be any but --output and --format: step 3 expects TIFFs beside
# the photos. Needs exiftool. The photos and their sidecars are only read.
set -euo pipefail
if [ $# -lt 1 ]; then
  echo "usage: $0 PHOTOS [OPTIONS...]" >&2
  exit 2
fi
photos=$1
shift
export KEYWORD=${KEYWORD:-deblur}
command -v exiftool >/dev/null || { echo "$0: exiftool is not installed" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# one line a sidecar: its path, then its keywords, between characters that neither holds
exiftool -q -q -r -ext xmp -sep $'\x01' -p $'$Directory/$FileName\x02$XMP:Subject' "$photos" >"$work/keywords" || true
awk -F $'\x02' '{
  count = split($2, keywords, "\001")
  for (i = 1; i <= count; i++) if (tolower(keywords[i]) == tolower(ENVIRON["KEYWORD"])) { print $1 FS keywords[i]; break }
}' "$work/keywords" >"$work/sidecars"

find_photo() { # the photo of a sidecar: darktable appends .xmp to the photo's name, Lightroom replaces the suffix
  local sidecar=$1 photo
  if [ -f "${sidecar%.xmp}" ]; then
    printf '%s' "${sidecar%.xmp}"
    return
  fi
  for photo in "${sidecar%.xmp}".*; do
    case ${photo##*.} in
      xmp | XMP | jpg | JPG | jpeg | JPEG) ;;
      *) printf '%s' "$photo" && return ;;
    esac
  done
}

while IFS=$'\x02' read -r sidecar keyword; do
  photo=$(find_photo "$sidecar")
  if [ -n "$photo" ] && [ -f "$photo" ]; then
    printf '%s\0' "$photo" >>"$work/photos"
    printf '%s\x02%s\n' "$sidecar" "$keyword" >>"$work/used"
  else
    echo "$sidecar: its photo is not beside it" >&2
  fi
done <"$work/sidecars"
if [ ! -s "$work/photos" ]; then
  echo "no sidecar below $photos has the keyword $KEYWORD" >&2
  exit 3
fi

code=0
dpdeblur run --files-from "$work/photos" -0 "$@" || code=$?
[ "$code" -le 1 ] || exit "$code"

while IFS=$'\x02' read -r sidecar keyword; do
  photo=$(find_photo "$sidecar")
  name=${photo##*/}
  result=$(dirname "$photo")/deblurred/${name%.*}.tif
  [ -f "$result" ] || continue # it failed, and dpdeblur has said why
  exiftool -q -q -overwrite_original -sep $'\x01' -tagsFromFile "$sidecar" \
    -XMP-xmp:Rating -XMP-xmp:Label -XMP-dc:Title -XMP-dc:Description -XMP-dc:Creator -XMP-dc:Rights \
    -XMP-dc:Subject -XMP-lr:HierarchicalSubject "$result"
  exiftool -q -q -overwrite_original -XMP-dc:Subject-="$keyword" \
    -XMP-dc:Subject-=deblurred -XMP-dc:Subject+=deblurred "$result"
  echo "$result"
done <"$work/used"
exit "$code"
