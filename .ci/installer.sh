#!/bin/sh
# Installs deployer @VERSION@ into ~/.local, or the folder that PREFIX names:
#   bin/deployer, and below share/ its programs, completions and manual pages.
set -eu

version='@VERSION@'
# Another place of the archives, such as a mirror.
place=${INSTALL_FROM:-'@PLACE@'}
prefix=${PREFIX:-$HOME/.local}
sums='@SHA256SUMS@'

fail() {
  echo "deployer was not installed: $1" >&2
  exit 1
}

case "$(uname -m)" in
x86_64 | amd64) processor=x86_64 ;;
aarch64 | arm64) processor=aarch64 ;;
*) fail "there is no archive for the processor $(uname -m)" ;;
esac
case "$(uname -s)" in
Linux) system=unknown-linux-musl ;;
Darwin) system=apple-darwin ;;
*) fail "there is no archive for $(uname -s); Windows has a zip, and runs this script in WSL" ;;
esac
name=deployer-$version-$processor-$system
wanted=$(printf '%s\n' "$sums" | awk -v file="$name.tar.gz" '$2 == file { print $1 }')
[ -n "$wanted" ] || fail "this release has no archive for $processor-$system"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
curl --proto '=https,file' --fail --silent --show-error --location --output "$folder/archive" "$place/$name.tar.gz" ||
  fail "the archive could not be downloaded from $place"
if command -v sha256sum >/dev/null; then
  found=$(sha256sum "$folder/archive")
else
  found=$(shasum -a 256 "$folder/archive")
fi
[ "${found%% *}" = "$wanted" ] || fail "the archive has another checksum than this release"

tar -xzf "$folder/archive" -C "$folder"
mkdir -p "$prefix/bin" "$prefix/share"
# A running deployer keeps its file: a new one takes its place.
cp "$folder/$name/bin/deployer" "$prefix/bin/deployer.new"
mv -f "$prefix/bin/deployer.new" "$prefix/bin/deployer"
rm -rf "$prefix/share/deployer"
cp -R "$folder/$name/share/." "$prefix/share/"
echo "installed deployer $version into $prefix"
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*) echo "add it to your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
