# A container with every extra. CPU:  docker build -t optidel .
# CUDA:  docker build -t optidel:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
# Run without a network and without rights:  docker run --rm --network none --user "$(id -u)" -v IMAGES:/images:ro -v RUNS:/runs optidel \
#   audit /images --out /runs/first
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
# Torch first and by itself: its index holds only torch, and the rest must not replace it.
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" \
	&& pip install --no-cache-dir --constraint constraints.txt '.[train,codecs,hf,video,onnx,demo,tensorboard]'

WORKDIR /runs
ENTRYPOINT ["optidel"]
CMD ["doctor"]
