# Sourced by the scripts beside it: who runs them, and where cargo is.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Prints why the script cannot go on, and ends it.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

require_root() {
    [ "$(id -u)" -eq 0 ] || die "namespaces and containers need root; run: sudo $0"
}

# Puts a cargo that is new enough on PATH. sudo drops the invoking user's PATH, and rustup installs into that
# user's home, so look there too.
find_cargo() {
    if ! command -v cargo >/dev/null; then
        local home
        home=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
        [ -x "$home/.cargo/bin/cargo" ] ||
            die "cargo is not on PATH and not in $home/.cargo/bin; install it from https://rustup.rs"
        export CARGO_HOME="${CARGO_HOME:-$home/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
        export PATH="$home/.cargo/bin:$PATH"
    fi
    local needed found
    needed=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    found=$(cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
        die "cargo $found is too old, $needed or newer is needed; with rustup: rustup update stable"
}

# Gives what root has written to whom it belongs, so that a later build without sudo can write there: what was
# built to the owner of the checkout, what was downloaded to the owner of the cargo home.
give_back() {
    give_to_owner_of "$root" "$root/target"
    [ -z "${CARGO_HOME:-}" ] || give_to_owner_of "$CARGO_HOME" "$CARGO_HOME"
}

give_to_owner_of() {
    local owner
    owner=$(stat -c %u:%g "$1")
    if [ "${owner%%:*}" -ne 0 ] && [ -d "$2" ]; then
        find "$2" -user 0 -exec chown -h "$owner" {} +
    fi
}
