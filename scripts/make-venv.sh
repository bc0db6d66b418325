#!/usr/bin/env bash
# Makes an empty virtual environment: make-venv.sh FOLDER. The variable PYTHON names the interpreter to use.
set -euo pipefail

folder=$1

new_enough() {
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$(command -v "${PYTHON:-python3}" >/dev/null && "${PYTHON:-python3}" --version 2>&1 || echo none)
    echo "Python 3.11 or newer is needed; found: $found." \
        "Install a newer one, or name it: make venv PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python cannot make virtual environments: its module venv or ensurepip is missing." \
        "On Debian and Ubuntu run: sudo apt-get install python3-venv" >&2
    exit 1
fi

"$python" -m venv --clear "$folder"
# Reading dependency groups needs pip 25.1.
"$folder/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
