#!/bin/sh
# Make sure that the browser tests find a Firefox: one on the machine, else the system's package.
set -eu

for name in firefox firefox-esr; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ -d "/Applications/Firefox.app" ]; then exit 0; fi
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing Firefox for the browser tests ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends firefox-esr >/dev/null
    exit 0
fi
echo "The browser tests need Firefox. Install it and run the command again, for instance:" >&2
echo "  sudo apt-get install firefox-esr  (Debian)" >&2
echo "  sudo dnf install firefox          (Fedora)" >&2
echo "  brew install --cask firefox       (macOS)" >&2
exit 1
