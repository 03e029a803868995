# The environment of envs/requirements.lock with this repository in it. How to use it: docs/running.md, "In a container".
FROM python:3.12.11-slim-bookworm@sha256:519591d6871b7bc437060736b9f7456b8731f1499a57e22e6c285135ae657bf7 AS base

LABEL org.opencontainers.image.title="Loss patterns of neural networks" \
      org.opencontainers.image.description="A reproducible-paper workflow: pictures in loss surfaces" \
      org.opencontainers.image.licenses="MIT"

# pillow lays out Arabic and Hebrew with FriBiDi.
RUN apt-get update && apt-get install --yes --no-install-recommends libfribidi0 && rm -rf /var/lib/apt/lists/*
COPY envs/requirements.lock /opt/
RUN pip install --no-cache-dir --require-hashes --requirement /opt/requirements.lock

# Anyone may run it, also a user whom the image does not know: caches go to /tmp, where pip, as root, has left nothing.
ENV HOME=/tmp USER=losspatterns NUMBA_CACHE_DIR=/tmp/numba PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 1000 --home-dir /tmp --no-create-home losspatterns \
    && install --directory --owner losspatterns /loss-patterns
WORKDIR /loss-patterns
COPY --chown=losspatterns . .

# docker build --target test: what the tests need, too.
FROM base AS test
COPY envs/requirements-dev.lock /opt/
RUN pip install --no-cache-dir --require-hashes --requirement /opt/requirements-dev.lock
USER 1000
CMD ["pytest"]

FROM base AS run
USER 1000
CMD ["snakemake", "--cores", "all"]
