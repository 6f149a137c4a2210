# A plain base for machines that reach no image registry: Debian packages, unpacked by
# `build.py --plain` into rootfs.tar. For tests and trials; a release names a maintained image.
FROM scratch
ADD rootfs.tar /
# Packages are unpacked, not configured: this does the part of their scripts that matters here.
# Bytecode with unchecked hashes stays valid whatever times the layer's files get.
RUN set -eu; \
    cp /usr/share/base-passwd/passwd.master /etc/passwd; \
    cp /usr/share/base-passwd/group.master /etc/group; \
    mkdir -p /etc/ssl/certs; \
    cat /usr/share/ca-certificates/mozilla/*.crt > /etc/ssl/certs/ca-certificates.crt; \
    ldconfig; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3*
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8
