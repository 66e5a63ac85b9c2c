#!/bin/sh
# Names what is missing before a build starts, each with the command that installs it.
#
#   sh .ci/prerequisites.sh build PYTHON     what `make build` and `make run` need
#   sh .ci/prerequisites.sh test PYTHON      what `make test` needs on top
#
# Prints nothing and exits 0 when all is there; else one line for each missing thing, and exit status 2.
set -u

goal=${1:-build}
python=${2:-python3}
rust_wanted=1.89
missing=0

if command -v apt-get >/dev/null 2>&1; then
    install="sudo apt-get install"
    python_packages="python3 python3-venv"
    compiler_packages="build-essential"
elif command -v dnf >/dev/null 2>&1; then
    install="sudo dnf install"
    python_packages="python3"
    compiler_packages="gcc make"
elif command -v pacman >/dev/null 2>&1; then
    install="sudo pacman -S"
    python_packages="python"
    compiler_packages="base-devel"
elif command -v brew >/dev/null 2>&1; then
    install="brew install"
    python_packages="python"
    compiler_packages="gcc make"
else
    install="install with your package manager:"
    python_packages="python3 (3.11 or later, with venv)"
    compiler_packages="gcc make"
fi

need() {
    printf 'missing: %s\n    %s\n' "$1" "$2" >&2
    missing=1
}

if ! command -v "$python" >/dev/null 2>&1; then
    need "Python 3.11 or later" "$install $python_packages"
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    need "Python 3.11 or later ($python is $("$python" --version 2>&1))" \
        "$install $python_packages    # or name a newer one: make PYTHON=python3.12"
elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    need "Python's venv module" "$install $python_packages"
fi

if ! command -v cc >/dev/null 2>&1; then
    need "a C compiler (cc)" "$install $compiler_packages"
fi

if ! command -v cargo >/dev/null 2>&1; then
    need "Rust $rust_wanted or later (cargo)" "$install rustup && rustup default stable    # or see https://rustup.rs"
else
    # "cargo 1.95.0 (…)" → 1 95
    version=$(cargo --version | sed 's/^cargo \([0-9]*\)\.\([0-9]*\).*/\1 \2/')
    major=${version% *}
    minor=${version#* }
    if [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt "${rust_wanted#*.}" ]; }; then
        need "Rust $rust_wanted or later (this is $(cargo --version))" "rustup update stable"
    fi
    if [ "$goal" = test ]; then
        cargo fmt --version >/dev/null 2>&1 || need "rustfmt" "rustup component add rustfmt"
        cargo clippy --version >/dev/null 2>&1 || need "clippy" "rustup component add clippy"
    fi
fi

if [ "$missing" -ne 0 ]; then
    exit 2
fi
