# Tickbridge: connectors and consumers in one image; which one it is, the command says.
#
#   docker build -t tickbridge .
#   docker run -v ./tickbridge.yaml:/etc/tickbridge/tickbridge.yaml:ro tickbridge
#   docker run tickbridge python -m consumers.books
#   docker build --build-arg LOCK=requirements-ccxt.lock -t tickbridge:VERSION-ccxt .    # exchanges through CCXT
#   docker build --build-arg LOCK=requirements-files.lock -t tickbridge:VERSION-files .  # tickbridge parquet
#
# Any Debian-based image with Python 3.11 to 3.13, venv and pip will do.
ARG PYTHON_IMAGE=python:3.13-slim
# requirements-ccxt.lock makes the image for exchanges through CCXT (tag: VERSION-ccxt), requirements-files.lock that with
# pyarrow (VERSION-files).
ARG LOCK=requirements.lock

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
ARG LOCK
WORKDIR /src
COPY requirements-build.lock ${LOCK} ./
# Wheels only, each with a known hash: nothing of others is compiled or run here.
RUN python3 -m venv /build \
    && /build/bin/pip install --require-hashes --only-binary=:all: --requirement requirements-build.lock \
    && python3 -m venv --without-pip /opt/tickbridge \
    && /build/bin/pip --python /opt/tickbridge/bin/python install --no-deps --require-hashes --only-binary=:all: \
        --requirement ${LOCK}
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
COPY consumers consumers
COPY deploy/sbom.py deploy/healthcheck.py deploy/
RUN /build/bin/pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /dist . \
    && /build/bin/pip --python /opt/tickbridge/bin/python install --no-deps --no-index /dist/*.whl \
    && cp deploy/healthcheck.py /opt/tickbridge/ \
    && /opt/tickbridge/bin/python deploy/sbom.py ${LOCK} > /opt/tickbridge/sbom.cdx.json

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="tickbridge" \
    org.opencontainers.image.description="Exchange WebSockets into Redis Streams, each event exactly once" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
# No installer in what runs, and nothing that makes root of whoever runs it. A volume takes its owner from the folder that it covers: those are for docker-compose.yml.
RUN rm -rf /usr/local/lib/python3.*/site-packages/pip* /usr/local/lib/python3.*/ensurepip \
        /usr/lib/python3/dist-packages/pip* /usr/local/bin/pip* /usr/bin/pip* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && mkdir -p /etc/tickbridge \
    && for name in redis limitlex lmex coinbase bybit binance binance-usdm kraken okx books wallets candles parquet web grafana simulator files; do \
        install -d -o 10001 -g 10001 "/var/lib/tickbridge/$name"; done
COPY --from=build /opt/tickbridge /opt/tickbridge
ENV PATH=/opt/tickbridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 9108 9109 9110 9111 9112 9113
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "/opt/tickbridge/healthcheck.py", "livez"]
CMD ["tickbridge", "run", "--config", "/etc/tickbridge/tickbridge.yaml"]
