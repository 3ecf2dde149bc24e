#!/bin/sh
# Make sure that the tests of replicas find a Redis: one on the machine, else the system's package.
set -eu

for name in redis-server valkey-server; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing Redis for the tests of replicas ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null
    exit 0
fi
echo "The tests of replicas need Redis. Install it and run the command again, for instance:" >&2
echo "  sudo apt-get install redis-server     (Debian, Ubuntu)" >&2
echo "  sudo dnf install valkey               (Fedora)" >&2
echo "  brew install redis                    (macOS)" >&2
exit 1
