# syntax=docker/dockerfile:1
# The service, in two targets; mount a folder of bundles at /bundles.
#   docker build .                 by ONNX Runtime on the CPU, texts included: no torch inside
#   docker build --target gpu .    by ONNX Runtime or torch on a GPU (docker run --gpus all)
# Retraining, and the export of events; mount a folder of bundles that can be written, and one of events at /events.
#   docker build --target train .
FROM python:3.11-slim AS build-cpu
WORKDIR /src
RUN python -m venv /opt/rqrec
COPY pyproject.toml constraints.txt README.md ./
COPY models models
COPY training training
COPY service service
COPY configs configs
COPY rqrec rqrec
RUN /opt/rqrec/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu,otel]'

# The packages bring the libraries of CUDA, and the NVIDIA container toolkit brings the driver.
FROM python:3.11-slim AS build-gpu
WORKDIR /src
RUN python -m venv /opt/rqrec
COPY pyproject.toml constraints.txt README.md ./
COPY models models
COPY training training
COPY service service
COPY configs configs
COPY rqrec rqrec
# The constraints pin what runs on a CPU: torch and ONNX Runtime are others here.
RUN grep -v -e '^torch==' -e '^onnxruntime==' constraints.txt > constraints-gpu.txt \
    && /opt/rqrec/bin/pip install --no-cache-dir --constraint constraints-gpu.txt '.[gpu,otel]'

FROM python:3.11-slim AS gpu
RUN useradd --system --uid 10001 --no-create-home rqrec
COPY --from=build-gpu /opt/rqrec /opt/rqrec
USER 10001
ENV PATH=/opt/rqrec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RQREC_BUNDLE=/bundles \
    RQREC_DEVICE=cuda \
    RQREC_HOST=0.0.0.0 \
    RQREC_LOG_FORMAT=json \
    RQREC_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["rqrec", "serve"]

FROM python:3.11-slim AS build-train
WORKDIR /src
RUN python -m venv /opt/rqrec
COPY pyproject.toml constraints.txt README.md ./
COPY models models
COPY training training
COPY service service
COPY configs configs
COPY rqrec rqrec
RUN /opt/rqrec/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu,train]'

FROM python:3.11-slim AS train
RUN useradd --system --uid 10001 --no-create-home rqrec \
    && install --directory --owner=rqrec /events /work
COPY --from=build-train /opt/rqrec /opt/rqrec
USER 10001
ENV PATH=/opt/rqrec/bin:$PATH \
    HOME=/work \
    PYTHONUNBUFFERED=1
CMD ["rqrec", "retrain", "--bundle", "/bundles", "--events", "/events", "--work-dir", "/work"]

FROM python:3.11-slim AS cpu
RUN useradd --system --uid 10001 --no-create-home rqrec
COPY --from=build-cpu /opt/rqrec /opt/rqrec
USER 10001
ENV PATH=/opt/rqrec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RQREC_BUNDLE=/bundles \
    RQREC_HOST=0.0.0.0 \
    RQREC_LOG_FORMAT=json \
    RQREC_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["rqrec", "serve"]
