# syntax=docker/dockerfile:1
# The service on the CPU, by ONNX Runtime: no torch inside. Mount a folder of bundles at /bundles.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/rqrec
COPY pyproject.toml constraints.txt README.md ./
COPY models models
COPY training training
COPY service service
RUN /opt/rqrec/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home rqrec
COPY --from=build /opt/rqrec /opt/rqrec
USER 10001
ENV PATH=/opt/rqrec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RQREC_BUNDLE=/bundles \
    RQREC_HOST=0.0.0.0 \
    RQREC_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "-m", "service"]
