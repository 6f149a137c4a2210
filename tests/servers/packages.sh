#!/usr/bin/env bash
# Which Debian packages do the images, the real node and the tests of networks need? Installs those
# that are missing; with --check it only says by its exit status whether all are there.
#   buildah     builds the images      mmdebstrap  makes their plain base from Debian packages
#   iproute2    bridge and addresses in the node's network namespace (with mount and unshare)
#   iperf3, iputils-ping, iptables  measure between network namespaces, and break what lies between
#   ca-certificates, debian-archive-keyring  for what is downloaded
set -euo pipefail

wanted=()
command -v buildah >/dev/null || wanted+=(buildah)
command -v mmdebstrap >/dev/null || wanted+=(mmdebstrap)
command -v ip >/dev/null || wanted+=(iproute2)
command -v iperf3 >/dev/null || wanted+=(iperf3)
command -v ping >/dev/null || wanted+=(iputils-ping)
command -v iptables >/dev/null || wanted+=(iptables)
command -v mount >/dev/null || wanted+=(mount)
command -v unshare >/dev/null || wanted+=(util-linux)
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || wanted+=(debian-archive-keyring)
[ -e /etc/ssl/certs/ca-certificates.crt ] || wanted+=(ca-certificates)
[ ${#wanted[@]} -gt 0 ] || exit 0
[ "${1:-}" != --check ] || exit 1
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "error: install these first: ${wanted[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
timeout 300 apt-get update -qq
timeout 600 apt-get install -y -qq --no-install-recommends "${wanted[@]}"
