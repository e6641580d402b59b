#!/usr/bin/env bash
# Makes the built-in model: the teachers' vectors, the four stages, the conversion. Two hours on two cores.
#
#     make.sh DATA WORK [STYLE]     # DATA: the folder of emoji-9l; STYLE: the number of a style whose pictures are left out
#
# A stage that was begun goes on, and what is done stays, if the same folder is named again. PYTHON and HUA are the programs, if not `python` and `hua`.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
# Where a program is, from any folder.
program() {
    local found
    found=$(command -v "$1") || { echo "make.sh: there is no program \`$1\`" >&2; return 1; }
    case $found in /*) echo "$found" ;; *) echo "$PWD/$found" ;; esac
}

recipes=$(dirname "$(realpath "$0")") data=$(realpath "$1")
python=$(program "${PYTHON:-python}")
hua=$(program "${HUA:-hua}")
mkdir -p "$2" && cd "$2"
prepare=() left_out=()
if [ $# -ge 3 ]; then
    prepare=(--leave-out-style "$3") left_out=(--set "data.read.leave_out=[\"*#*$3\"]")
fi

# Runs the rest of the line unless it came to its end before. `minutes.txt` has how long each took, also of what was interrupted.
once() {
    [ ! -e "$1.done" ] || return 0
    now=$1 start=$SECONDS && shift
    "$@"
    touch "$now.done"
    told done && now=
}

told() {
    echo "$now: $(( (SECONDS - start) / 60 )) min $(( (SECONDS - start) % 60 )) s, $1" | tee -a minutes.txt
}

now=
trap '[ -z "$now" ] || told interrupted' EXIT

stage() {
    local kind=$1 name=$2 resume=() && shift 2
    [ ! -d "$name/last" ] || resume=(--resume)
    "$hua" train "$kind" "$name.toml" -o "$name" "${resume[@]}" "$@"
}

once prepare "$python" "$recipes/prepare.py" "$data" . "${prepare[@]}"
cp "$recipes"/*.toml .
ln -sfn "$data" emoji-9l
once text stage distill text
for name in pictures meet both; do
    once "$name" stage contrastive "$name" "${left_out[@]}"
done
once model "$hua" convert both/last -o model --dtype f16
