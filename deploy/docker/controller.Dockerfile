# The controller. Build it with deploy/docker/build.py, which makes the build context:
#   wheels/  konduktor-health and everything it needs, for the base's Python and platform
#   pip/     pip's own wheel, so that the base needs no pip
# No step reaches a network. BASE needs python3 >= 3.11 with its standard library, glibc and
# libstdc++ (of RE2).
ARG BASE=python:3.13-slim

FROM ${BASE} AS environment
COPY pip/ /build/pip/
COPY wheels/ /build/wheels/
# pip runs out of its wheel and is not installed. Bytecode with unchecked hashes: the root file
# system is read-only, so what is not compiled here would be compiled at every start.
# Of cel-expr-python only the engine is loaded: its extensions (38 MB) and what its wheels for Python
# 3.12 and later hold of its build are left out.
# kubernetes.aio, a copy of every call, is never imported (tests hold it) and is left out as well.
RUN set -eu; \
    python3 -m venv --without-pip /opt/konduktor-health; \
    PYTHONPATH="$(echo /build/pip/pip-*.whl)" /opt/konduktor-health/bin/python -m pip \
        --isolated --disable-pip-version-check --no-cache-dir install --quiet \
        --no-compile --root-user-action ignore \
        --no-index --find-links /build/wheels konduktor-health; \
    rm -f /opt/konduktor-health/bin/[Aa]ctivate*; \
    rm -rf /opt/konduktor-health/lib/python3*/site-packages/cel_expr_python/ext \
        /opt/konduktor-health/lib/python3*/site-packages/bazel-project \
        /opt/konduktor-health/lib/python3*/site-packages/kubernetes/aio; \
    /opt/konduktor-health/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/konduktor-health/lib

FROM ${BASE}
COPY --from=environment /opt/konduktor-health /opt/konduktor-health
# A Python base may bring an installer: whoever gets into the container shall not find one.
RUN python3 -I -c 'import glob, shutil, sysconfig; \
[shutil.rmtree(path) for key in ("stdlib", "purelib") for name in ("ensurepip", "pip", "pip-*") \
 for path in glob.glob(sysconfig.get_path(key) + "/" + name)]' \
    && rm -f /usr/local/bin/pip*

ARG BASE
ARG BASE_DIGEST=
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="konduktor-health" \
      org.opencontainers.image.description="GPU-node health controller for Kubernetes" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"

# The root file system may be read-only and there is no home: nothing is written.
ENV PATH=/opt/konduktor-health/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent
WORKDIR /
USER 65532:65532
ENTRYPOINT ["konduktor-health"]
CMD ["run"]
