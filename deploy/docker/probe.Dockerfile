# The probe: runs on every GPU node. Build it with deploy/docker/build.py, which makes the build
# context:
#   probe-wheels/  konduktor-health-probe (the packages `probes` and `parsers`, made from the same
#                  sources) and what it needs
#   pip/           pip's own wheel, so that the base needs no pip
#   cuda/          the CUDA programs, or nothing where they were not compiled (make cuda)
# A wheel of its own, not the controller's with parts removed: nothing of the controller or of its
# dependencies ever gets in, and the installed metadata says what is there.
# No step reaches a network. BASE needs python3 >= 3.11 with its standard library, sh and echo, and
# iperf3 and ping for the network checks; for DCGM it is an image that has dcgmi
# (docs/reference/images.md).
ARG BASE=python:3.13-slim

FROM ${BASE} AS environment
COPY pip/ /build/pip/
COPY probe-wheels/ /build/wheels/
RUN set -eu; \
    python3 -m venv --without-pip /opt/konduktor-health; \
    PYTHONPATH="$(echo /build/pip/pip-*.whl)" /opt/konduktor-health/bin/python -m pip \
        --isolated --disable-pip-version-check --no-cache-dir install --quiet \
        --no-compile --root-user-action ignore \
        --no-index --find-links /build/wheels konduktor-health-probe; \
    rm -f /opt/konduktor-health/bin/[Aa]ctivate*; \
    /opt/konduktor-health/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/konduktor-health/lib

FROM ${BASE}
COPY --from=environment /opt/konduktor-health /opt/konduktor-health
COPY cuda/ /opt/konduktor/bin/
# A Python base may bring an installer: whoever gets into the container shall not find one.
RUN python3 -I -c 'import glob, shutil, sysconfig; \
[shutil.rmtree(path) for key in ("stdlib", "purelib") for name in ("ensurepip", "pip", "pip-*") \
 for path in glob.glob(sysconfig.get_path(key) + "/" + name)]' \
    && rm -f /usr/local/bin/pip*

ARG BASE
ARG BASE_DIGEST=
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="konduktor-health-probe" \
      org.opencontainers.image.description="Node part of konduktor-health: measures the node, forwards the kernel log" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"

ENV PATH=/opt/konduktor-health/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent
WORKDIR /
# /dev/kmsg and the state folder on the host belong to root.
USER 0:0
ENTRYPOINT ["konduktor-probe"]
CMD ["kmsg"]
