# The container of Dataflow workers (and of others that run Beam in containers). Build it at the root of the repository:
#
#   docker build --file docker/worker.Dockerfile --tag IMAGE .                           # the current stack
#   docker build --file docker/worker.Dockerfile --tag IMAGE \
#       --build-arg PYTHON=3.10 --build-arg BEAM=2.74.0 --build-arg LOCK=legacy.lock . # the legacy stack
#
# Python and Beam must have the same versions as on the machine that submits the job.
ARG PYTHON=3.11
ARG BEAM=2.77.0
FROM apache/beam_python${PYTHON}_sdk:${BEAM}

ARG LOCK=current.lock
WORKDIR /build
COPY requirements/${LOCK} docker/worker-requirements.txt ./
# No TensorFlow: only training needs it. Without it the image is smaller, and workers start sooner.
RUN pip install --no-cache-dir --constraint ${LOCK} --requirement worker-requirements.txt
COPY setup.py pyproject.toml README.md LICENSE ./
COPY pemt_tf pemt_tf
COPY beam_jobs beam_jobs
RUN pip install --no-cache-dir --no-deps . \
    && cd / \
    && python -c "import beam_jobs.worker.decoder_child, beam_jobs.worker.shard_maker; print('workers can be started')" \
    && rm -rf /build
WORKDIR /
# The entry point is still Beam's own, /opt/apache/beam/boot.
