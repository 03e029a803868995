# The environment of envs/requirements-dev.lock with this repository in it. How to use it: docs/running.md, "In a container".
FROM python:3.12.11-slim-bookworm

# Any user may run it: caches go to /tmp.
ENV HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba PYTHONDONTWRITEBYTECODE=1

COPY envs/requirements-dev.lock /tmp/
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements-dev.lock && rm -r /tmp/*

RUN useradd --uid 1000 --home-dir /tmp --no-create-home losspatterns \
    && install --directory --owner losspatterns /loss-patterns
USER 1000
WORKDIR /loss-patterns
COPY --chown=losspatterns . .
CMD ["snakemake", "--cores", "all"]
