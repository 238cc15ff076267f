"""Packaging of pemt-tf. Ranges here say what can work; requirements/*.lock say what was tested."""

from pathlib import Path

from setuptools import find_packages, setup

VERSION = "0.1.0"

CORE = [
    "apache-beam>=2.65",
    "av>=17.1",  # earlier releases leak in the audio resampler
    "google-crc32c>=1.5",  # checksums of record files
    "keras>=3.10",
    "numpy>=1.26",
    "packaging>=22",  # version ranges, for `pemt doctor`
    "pyarrow>=10",
    "PyYAML>=6",
    "scikit-learn>=1.4",
    "scipy>=1.11",
    "simplejpeg>=1.8",
    "tensorboard>=2.16",
    "tensorflow>=2.16,<3",
    "tensorflow-serving-api>=2.16,<3",  # messages of the server: the client, warm-up requests
]

EXTRAS = {
    # The legacy stack is Python 3.10 with TFX 1.16, the current one Python 3.11 and later with TFX 1.21 (glibc 2.39).
    "tfx": [
        "tfx>=1.16,<1.17; python_version < '3.11'",
        "tfx>=1.21,<2; python_version >= '3.11'",
        "dill",  # TFX 1.16 pickles Beam's main session with it
        "setuptools<81",  # TFX and TFDV still import pkg_resources
        "pip",  # the TFX Trainer installs its module file with pip
        "kfp-pipeline-spec>=0.2.2",  # the format that the pipeline is compiled to for Kubeflow and Vertex AI
        "rich>=13",  # the live table of `tfx pipeline run`; Keras brings it as well
    ],
    "dataflow": ["apache-beam[gcp]>=2.65"],
    "aws": ["apache-beam[aws]>=2.65"],  # s3:// paths in the jobs
    # tensorflow-io 0.37.1 is its last release; its library loads with TensorFlow 2.16 only.
    "io": ["tensorflow-io==0.37.1; python_version < '3.11'"],
    "search": ["usearch>=2.16"],  # approximate neighbours among more than a million clips
    "umap": ["umap-learn>=0.5.6"],  # the other map of `pemt explore`
    "dev": [
        "gcp-storage-emulator>=2024.8",
        "hypothesis>=6.100",
        "jsonschema>=4.20",  # Kubernetes files against their schemas
        "matplotlib>=3.8",  # its colour map is what ours is compared with
        "pdoc>=15",  # `make docs`
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.8",
    ],
}

setup(
    name="pemt-tf",
    version=VERSION,
    description="Parameter-efficient multimodal Transformers for video in TensorFlow and Keras",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["pemt_tf*", "beam_jobs*", "pipeline*"]),
    package_data={
        "pemt_tf": ["**/*.html", "**/*.md", "config/presets/*.yaml", "report/*.css", "report/*.png", "explore/assets/*", "orchestration/nodes/*.cc"],
        "pipeline": ["schema/*.pbtxt", "*.yaml"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "pemt = pemt_tf.cli:main",
            "tfx = pemt_tf.orchestration.running.tfx_command:main",
        ]
    },
)
