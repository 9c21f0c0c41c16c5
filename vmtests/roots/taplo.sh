#!/bin/sh
# Puts a language server for TOML into a directory of its own, for tests: sh vmtests/roots/taplo.sh DIRECTORY
#
# olpat is the maintained fork of taplo, the server that VS Code, Helix and Neovim use for TOML; it comes built, with the
# language server, which taplo's own wheels lack. Nothing is installed outside of the directory. Running it again does
# nothing.
set -eu

root=${1:?the directory to put it into}
if [ -e "$root/.complete" ]; then
    exit 0
fi
rm -rf "$root"
mkdir -p "$root"
python3 -m venv "$root/venv"
"$root/venv/bin/pip" install --quiet --no-deps --only-binary :all: --disable-pip-version-check olpat==0.10.0
"$root/venv/bin/olpat" --version
: >"$root/.complete"
