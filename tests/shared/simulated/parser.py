"""The simulated ONNX parser: a model is JSON that names inputs and a chain of plugin calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorrt as trt

from simulated.builder import REAL, INetworkDefinition
from simulated.strict import make, strict


@strict(REAL.ParserError)
class ParserError:
    _text: str

    def desc(self) -> str:
        return self._text


@strict(REAL.OnnxParser)
class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network, self._errors = network, list[str]()

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return make(ParserError, text=self._errors[index])  # type: ignore[no-any-return]

    def parse_from_file(self, model: str) -> bool:
        import tensorrt.plugin as trtp

        try:
            described = json.loads(Path(model).read_text())
            (name, dtype, shape) = described["input"]
            tensor: Any = self._network.add_input(name, getattr(trt.DataType, dtype), tuple(shape))
            for plugin_id, attributes in described["plugins"]:
                namespace, op = plugin_id.split("::")
                call = getattr(getattr(trtp.op, namespace), op)(tensor, **attributes)
                tensor = self._network.add_plugin(call, aot=True).get_output(0)
            self._network.mark_output(tensor)
        except (ValueError, KeyError) as e:
            self._errors.append(f"Failed to parse ONNX model from file: {type(e).__name__}")
            return False
        return True
