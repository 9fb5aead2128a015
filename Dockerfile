# sodkit in a container. NOT BUILT so far: the machine it was written on cannot pull base images.
#
#   docker build -t sodkit .                                    # CPU, and GPUs: PyPI's torch has both
#   docker build -t sodkit --build-arg BASE=nvidia/cuda:12.6.3-runtime-ubuntu24.04 .   # a CUDA base
#   docker build -t sodkit --build-arg TORCH_INDEX=URL .        # torch of another index, as the CPU's
#   docker run --rm -v "$PWD:/work" sodkit check train.json
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" sodkit train RECIPE --data patches --out run
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG TORCH_INDEX=""
ARG EXTRAS="geo,onnx,tensorboard"

# OpenCV loads libGL and GLib; a CUDA base has no Python
RUN apt-get update \
 && apt-get install --no-install-recommends -y libgl1 libglib2.0-0 \
 && (command -v python3 >/dev/null || apt-get install --no-install-recommends -y python3) \
 && (python3 -m venv --help >/dev/null 2>&1 && python3 -c 'import ensurepip' \
     || apt-get install --no-install-recommends -y python3-venv) \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE /source/
COPY sodkit /source/sodkit
RUN python3 -m venv /venv \
 && if [ -n "$TORCH_INDEX" ]; then \
      /venv/bin/pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX"; \
    fi \
 && /venv/bin/pip install --no-cache-dir "/source[$EXTRAS]" \
 && rm -rf /source

# files that it writes into /work belong to this user: --user "$(id -u):$(id -g)" makes them yours
RUN useradd --create-home sodkit
USER sodkit
ENV PATH=/venv/bin:$PATH
WORKDIR /work
ENTRYPOINT ["sodkit"]
