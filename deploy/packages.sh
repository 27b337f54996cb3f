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

# pkcs11_provider DIR: prints the path of OpenSSL's provider for PKCS#11. Debian has it from 13 on; that one's module also runs on 12, where it is unpacked into
# DIR, and apt's own settings stay as they are.
pkcs11_provider() {
	local dir=$1 module
	module=$(dpkg -L pkcs11-provider 2>/dev/null | grep '/ossl-modules/pkcs11\.so$')
	if [ -z "$module" ] && apt-cache policy pkcs11-provider 2>/dev/null | grep -q 'Candidate: [0-9]'; then
		packages_need pkcs11-provider || return 1
		module=$(dpkg -L pkcs11-provider | grep '/ossl-modules/pkcs11\.so$')
	fi
	[ -n "$module" ] || module=$(find "$dir/root" -name pkcs11.so 2>/dev/null)
	if [ -z "$module" ]; then
		if [ -n "${BATON_NO_INSTALL:-}" ]; then
			echo "missing package: pkcs11-provider" >&2
			return 1
		fi
		mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" &&
			echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main' >"$dir/sources" &&
			printf '%s "%s";\n' Dir::Etc::SourceList "$dir/sources" Dir::Etc::SourceParts - Dir::State::Lists "$dir/lists" Dir::Cache "$dir/cache" \
				Acquire::Languages none APT::Sandbox::User "$(id -un)" >"$dir/apt.conf" &&
			(cd "$dir" && export APT_CONFIG=$dir/apt.conf && apt-get update -qq && apt-get download -qq pkcs11-provider) >&2 &&
			dpkg-deb -x "$dir"/pkcs11-provider_*.deb "$dir/root" && rm -rf "$dir/lists" "$dir/cache" || return 1
		module=$(find "$dir/root" -name pkcs11.so)
	fi
	[ -n "$module" ] && printf '%s\n' "$module"
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
