# shellcheck shell=bash disable=SC2034 # the lists are read by those who source this
# Which Debian packages are needed, and how do they come? Sourced by deploy/quickstart and tests/run; installs only what is missing.

BUILD_PACKAGES="gcc libc6-dev make autoconf automake pkg-config libevent-dev libssl-dev libnghttp2-dev libprotobuf-c-dev protobuf-compiler
	protobuf-c-compiler libhiredis-dev libjansson-dev libcurl4-openssl-dev libyaml-dev libseccomp-dev uthash-dev redis-server redis-tools"
# prometheus brings promtool.
TEST_PACKAGES="libcmocka-dev libcjose-dev openssl nodejs npm python3 python3-grpcio python3-protobuf protobuf-compiler-grpc prometheus shellcheck spin softhsm2"

# Prints those of its arguments that are not installed. nodejs and npm also count when they come from elsewhere.
packages_missing() {
	local p
	for p in "$@"; do
		case $p in
		nodejs) command -v node >/dev/null && continue ;;
		npm) command -v npm >/dev/null && continue ;;
		esac
		dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || printf '%s ' "$p"
	done
}

# Installs what is missing of its arguments. Services that come along (redis-server, prometheus) are not started.
packages_need() {
	local missing as_root=() policy=/usr/sbin/policy-rc.d made=
	missing=$(packages_missing "$@")
	[ -n "$missing" ] || return 0
	if [ -n "${BATON_NO_INSTALL:-}" ]; then
		echo "missing packages: $missing" >&2
		return 1
	fi
	if ! command -v apt-get >/dev/null; then
		echo "missing: $missing (Debian's names; this is not a Debian)" >&2
		return 1
	fi
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || { echo "be root, or have sudo, to install: $missing" >&2; return 1; }
		as_root=(sudo)
	fi
	echo "installing: $missing" >&2
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
		"${as_root[@]}" chmod 755 "$policy"
		made=yes
	fi
	# shellcheck disable=SC2086 # a list of words
	{
		"${as_root[@]}" apt-get update -qq &&
			"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
	} >&2 </dev/null
	local rc=$?
	[ -z "$made" ] || "${as_root[@]}" rm -f "$policy"
	return $rc
}

# packages_unpack DIR SUITE PACKAGE...: unpacks what a suite of Debian has, or with "" the own one, into DIR; nothing is installed, and apt's settings stay as they are.
packages_unpack() {
	local dir=$1 suite=$2 conf mirror
	shift 2
	[ "$(cat "$dir/.unpacked" 2>/dev/null)" != "$suite $*" ] || return 0
	if [ -n "${BATON_NO_INSTALL:-}" ]; then
		echo "missing packages: $*" >&2
		return 1
	fi
	mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial" && conf=$dir/apt/conf && : >"$conf" || return 1
	if [ -n "$suite" ]; then
		mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 !~ /-/ { print $1; exit }') # where apt has its own suite from
		[ -n "$mirror" ] || return 1
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$dir/apt/sources"
		printf '%s "%s";\n' Dir::Etc::SourceList "$dir/apt/sources" Dir::Etc::SourceParts - Dir::State::Lists "$dir/apt/lists" Dir::Cache "$dir/apt" \
			Acquire::Languages none APT::Sandbox::User "$(id -un)" >"$conf"
		APT_CONFIG=$conf apt-get update -qq >&2 || return 1
	fi
	(cd "$dir/apt/archives" && APT_CONFIG=$conf apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$@" >&2 && for deb in ./*.deb; do dpkg-deb -x "$deb" "$dir" || exit 1; done) || return 1
	rm -rf "$dir/apt" && printf '%s\n' "$suite $*" >"$dir/.unpacked"
}

# pkcs11_provider DIR: prints the path of OpenSSL's provider for PKCS#11. Debian has it from 13 on; that one's module also runs on 12, where it is unpacked into DIR.
pkcs11_provider() {
	local module
	if apt-cache policy pkcs11-provider 2>/dev/null | grep -q 'Candidate: [0-9]'; then
		packages_need pkcs11-provider || return 1
		module=$(dpkg -L pkcs11-provider | grep '/ossl-modules/pkcs11\.so$')
	else
		packages_unpack "$1" trixie pkcs11-provider || return 1
		module=$(find "$1" -name pkcs11.so)
	fi
	[ -n "$module" ] && printf '%s\n' "$module"
}

# tpm_parts DIR: unpacks a TPM that is a program, its tools, OpenSSL's provider for TPMs, and the libraries that they miss. Installed they would bring udev along.
tpm_parts() {
	local all own
	all=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances swtpm tpm2-tools tpm2-openssl | grep '^[a-z]' | sort -u)
	own=$(grep -E '^(swtpm|tpm2-|libtpms|libtss2-)' <<<"$all")
	# shellcheck disable=SC2046,SC2086 # lists of words
	packages_unpack "$1" "" $own $(packages_missing $(grep '^lib' <<<"$all" | grep -vxF "$own"))
}

# build_configure DIR [OPTION...]: ./configure out of tree, when it was not done yet or asks for other options.
build_configure() {
	local dir=$1 root
	shift
	root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
	if [ ! -x "$root/configure" ]; then
		"$root/autogen.sh" >&2 || return 1
	fi
	mkdir -p "$dir"
	if [ ! -f "$dir/Makefile" ] || [ "$(cat "$dir/.options" 2>/dev/null)" != "$*" ]; then
		[ ! -f "$dir/Makefile" ] || make -s -C "$dir" clean >&2 || true
		(cd "$dir" && "$root/configure" -q "$@") >&2 || return 1
		printf '%s\n' "$*" >"$dir/.options"
	fi
}
