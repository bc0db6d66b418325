#!/usr/bin/env bash
# Debian and Ubuntu: the libraries Qt and OpenGL need, and a virtual screen. Elsewhere there is nothing to do.
# Installs what is missing when root or passwordless sudo allows it, else prints the line to run.
set -euo pipefail

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || exit 0

packages=(
    xvfb xauth
    libgl1 libegl1 libglib2.0-0 libfontconfig1 libdbus-1-3 libxkbcommon-x11-0
    libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xkb1
)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
# Checks of the DICOM files that tests write; tests skip them where it is missing.
optional=(dicom3tools)

# From Debian 13 and Ubuntu 24.04 on, libglib2.0-0 is called libglib2.0-0t64.
installed() {
    [[ $(dpkg-query -W -f '${Status}' "$1" "${1}t64" 2>/dev/null) == *"install ok installed"* ]]
}
available() {
    [[ $(apt-cache policy "$1") == *"Candidate: "[^\(]* ]]
}

missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done
wanted=()
for package in "${optional[@]}"; do
    installed "$package" || wanted+=("$package")
done
[ $((${#missing[@]} + ${#wanted[@]})) -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    sudo -n true 2>/dev/null || as_root=(none)
fi
if [ "${as_root[*]}" != none ]; then
    "${as_root[@]}" apt-get update -q || true
fi

# One by one and each only if it is to be had: nothing else depends on them.
if [ "${as_root[*]}" != none ]; then
    for package in "${wanted[@]}"; do
        if available "$package"; then
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -q -y --no-install-recommends "$package" || true
        fi
    done
fi
[ ${#missing[@]} -gt 0 ] || exit 0

names=()
for package in "${missing[@]}"; do
    if available "${package}t64"; then names+=("${package}t64"); else names+=("$package"); fi
done

if [ "${as_root[*]}" != none ] &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${names[@]}"; then
    exit 0
fi
echo "Some system packages are missing. The viewer may not start before you run:" >&2
echo "    sudo apt-get update && sudo apt-get install ${names[*]}" >&2
