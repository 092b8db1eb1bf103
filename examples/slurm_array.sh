#!/usr/bin/env bash
#SBATCH --job-name=dpdeblur
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
# Restore a folder by a job array; photos and results lie on storage that all nodes share:
#
#   sbatch --array=1-20 examples/slurm_array.sh PHOTOS OUTPUT [OPTIONS OF dpdeblur run...]
#   sbatch --array=1-4 --gpus-per-task=1 examples/slurm_array.sh PHOTOS OUTPUT
#
# The tasks know nothing of each other: each takes every N-th photo of the same list. A task that was stopped, or sent
# again, skips what it has done. Other schedulers: replace the two variables (PBS_ARRAY_INDEX, SGE_TASK_ID ...).
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: sbatch --array=1-N $0 PHOTOS OUTPUT [OPTIONS...]" >&2
  exit 2
fi
photos=$1 output=$2
shift 2
if [ "${SLURM_ARRAY_TASK_MIN:-1}" -ne 1 ] || [ "$SLURM_ARRAY_TASK_MAX" -ne "$SLURM_ARRAY_TASK_COUNT" ]; then
  echo "$0: the array has to be 1-N, without gaps" >&2
  exit 2
fi

mkdir -p "$output"
code=0
dpdeblur run "$photos" --recursive --output "$output" \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --log "$output/log_$SLURM_ARRAY_TASK_ID.jsonl" "$@" || code=$?
# more tasks than photos leave some without work, which is no failure
[ "$code" -eq 3 ] || exit "$code"
