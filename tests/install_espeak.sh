#!/bin/sh
# Make sure that there is somebody who speaks: espeak-ng, whose words a test of the captions hears.
set -eu

if command -v espeak-ng >/dev/null 2>&1; then exit 0; fi
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing espeak-ng for the tests of speech ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends espeak-ng >/dev/null
    exit 0
fi
echo "The tests of speech need espeak-ng. Install it and run the command again, for instance:" >&2
echo "  sudo apt-get install espeak-ng     (Debian, Ubuntu)" >&2
echo "  sudo dnf install espeak-ng         (Fedora)" >&2
echo "  brew install espeak-ng             (macOS)" >&2
exit 1
