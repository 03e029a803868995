# The environment of envs/requirements-dev.lock with this repository in it. How to use it: docs/running.md, "In a container".
FROM python:3.12.11-slim-bookworm

COPY envs/requirements-dev.lock /opt/
RUN pip install --no-cache-dir --require-hashes --requirement /opt/requirements-dev.lock

# Anyone may run it, also a user whom the image does not know: caches go to /tmp, where pip, as root, has left nothing.
ENV HOME=/tmp USER=losspatterns NUMBA_CACHE_DIR=/tmp/numba PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 1000 --home-dir /tmp --no-create-home losspatterns \
    && install --directory --owner losspatterns /loss-patterns
USER 1000
WORKDIR /loss-patterns
COPY --chown=losspatterns . .
CMD ["snakemake", "--cores", "all"]
