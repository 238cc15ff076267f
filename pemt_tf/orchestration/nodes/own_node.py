"""What our own nodes share: each names its artefacts and parameters once, and TFX's classes follow from that."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from pemt_tf.orchestration.nodes.imported_code import code_fingerprint

Artifacts = dict[str, list[Artifact]]  # what TFX gives an executor: name of an input or output to its artefacts
CODE = "code"


class OwnNode(BaseComponent):
    """A node that makes its own outputs, and has the fingerprint of its module's code as one more parameter."""

    def __init_subclass__(
        cls,
        inputs: dict[str, type[Artifact]],
        outputs: dict[str, type[Artifact]],
        parameters: dict[str, type],
        optional: Collection[str] = (),  # inputs that may have no artefact
        code_files: Collection[Path] = (),  # what the code uses beside Python
    ):
        super().__init_subclass__()
        members = {
            "INPUTS": {name: ChannelParameter(type=kind, optional=name in optional) for name, kind in inputs.items()},
            "OUTPUTS": {name: ChannelParameter(type=kind) for name, kind in outputs.items()},
            "PARAMETERS": {name: ExecutionParameter(type=kind) for name, kind in {**parameters, CODE: str}.items()},
        }
        cls._code_files = code_files
        cls.SPEC_CLASS = type(f"{cls.__name__}Spec", (ComponentSpec,), members)

    def __init__(self, **values: Any):
        made = {name: types.Channel(type=output.type) for name, output in self.SPEC_CLASS.OUTPUTS.items()}
        code = code_fingerprint(type(self).__module__, files=self._code_files)
        super().__init__(spec=self.SPEC_CLASS(**values, **made, **{CODE: code}))
