#!/usr/bin/env bash
# Runs the tests of each framework with its own packages, in an environment of its own: their pins collide.
# `tests/frameworks/run.sh` runs all, `tests/frameworks/run.sh langchain google-adk` those two. The environments are in
# $CONVTREE_FRAMEWORKS, or thrown away. With CONVTREE_RECORD=1 the samples are written anew.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1

# test_real_<name>.py needs the packages of the group <name> in pyproject.toml
all=()
for test in "$here"/test_real_*.py; do
  name=$(basename "$test" .py)
  all+=("$(tr _ - <<<"${name#test_real_}")")
done
[ $# -gt 0 ] || set -- "${all[@]}"
for name in "$@"; do
  [[ " ${all[*]} " == *" $name "* ]] || { echo "unknown framework '$name'; expected some of: ${all[*]}" >&2; exit 2; }
done

if [ -n "${CONVTREE_FRAMEWORKS:-}" ]; then
  work=$CONVTREE_FRAMEWORKS
  mkdir -p "$work"
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi

failed=()
for name in "$@"; do
  printf '\n== %s\n' "$name"
  bin=$work/$name/bin
  if ! [ -e "$work/$name/complete" ]; then
    "$python" -m venv "$work/$name"
    "$bin/pip" install -q --upgrade 'pip>=25.1'
    (cd "$root" && "$bin/pip" install -q -e . --group "$name" 'pytest>=8' 'hypothesis>=6.100')
    touch "$work/$name/complete"
  fi
  # a root of its own, because the tests above need other packages; -rs, because a skipped test proves nothing
  (cd "$here" && "$bin/python" -m pytest -q -rs -c /dev/null --rootdir "$here" --confcutdir "$here" \
    -p no:cacheprovider "test_real_${name//-/_}.py") || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
