#!/bin/sh
# Make sure that the browser tests find a Chromium: one on the machine, else the system's package.
# Its headless shell comes first: without a window to draw, it takes a third of the processor time.
set -eu

install() {
    echo "Installing $1 for the browser tests ..."
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

can_install=
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then can_install=yes; fi
if command -v chromium-headless-shell >/dev/null 2>&1; then exit 0; fi
# Not every system has this package.
if [ "$can_install" ] && install chromium-headless-shell; then exit 0; fi
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$can_install" ] && install chromium; then exit 0; fi
echo "The browser tests need Chromium. Install it and run the command again, for instance:" >&2
echo "  sudo apt-get install chromium-headless-shell  (Debian)" >&2
echo "  sudo dnf install chromium         (Fedora)" >&2
echo "  brew install --cask chromium      (macOS; then put it on PATH as chromium)" >&2
exit 1
