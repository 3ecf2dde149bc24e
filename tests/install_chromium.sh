#!/bin/sh
# Make sure that the browser tests find a Chromium: one on the machine, else the system's package.
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium for the browser tests ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    exit 0
fi
echo "The browser tests need Chromium. Install it and run the command again, for instance:" >&2
echo "  sudo apt-get install chromium     (Debian, Ubuntu)" >&2
echo "  sudo dnf install chromium         (Fedora)" >&2
echo "  brew install --cask chromium      (macOS; then put it on PATH as chromium)" >&2
exit 1
