#!/bin/sh
# Installs what Qt and OpenGL need on a bare Debian or Ubuntu, where that is allowed; elsewhere says what to do.
set -eu
list=$(cat "$(dirname "$0")/system-packages.txt")
command -v dpkg-query >/dev/null 2>&1 || exit 0
missing=""
for package in $list; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "Please install the system packages for Qt and OpenGL: sudo apt-get install$missing" >&2
    exit 0
fi
echo "Installing system packages:$missing"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
