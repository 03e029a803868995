"""What a config says of networks, and the names of batch norm's protocols."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from ..config.fields import Count, Many
from ..config.model import Model, by_kind, wrong
from ..config.reading import read, user_path
from ..errors import InputError

Protocol = Literal["batch", "recalibrated", "identity"]
BN_PROTOCOLS = get_args(Protocol)
NO_BATCH_NORM = "none"  # the protocol's name in surfaces and scores of networks without batch norm
Widths = Many[Count]


class ConvNetwork(Model):
    """3 x 3 convolutions with optional 2 x 2 max pools, then dense layers."""

    kind: Literal["conv"] = Field("conv", description="3 x 3 convolutions, then dense layers.")
    channels: Widths = Field(description="Channels of each convolution.")
    dense: Widths = Field((), description="Widths of the dense layers before the last.")
    pool: bool = Field(True, description="A 2 x 2 max pool after each convolution.")
    pooled_size: Count = Field(4, description="Side of the adaptive average pool before the dense layers.")
    batch_norm: bool = Field(False, description="Batch norm after each convolution.")
    residual: bool = Field(False, description="Add the input of a convolution where the channels agree.")
    activation: Literal["relu", "gelu", "tanh"] = Field("relu", description="The activation.")

    def model_post_init(self, context: Any) -> None:
        if self.batch_norm and not self.channels:
            raise wrong("expected convolutions to normalise (batch_norm is true)", "channels", list(self.channels))

    def check_image(self, key: str, height: int, width: int) -> None:
        """InputError, naming the network `key`, if its pools leave nothing of an image of this size."""
        if self.pool and min(height, width) >> len(self.channels) < 1:
            raise InputError(
                f"{key}: images of {height} x {width} are too small for {len(self.channels)} pools of 2 x 2; "
                "use fewer channels, or pool: false"
            )


class ResNetwork(Model):
    """A small residual network: one stage per entry of `channels`, the resolution halved between stages."""

    kind: Literal["resnet"] = Field("resnet", description="A small residual network.")
    channels: Widths = Field(min_length=1, description="Channels of each stage.")
    dense: Widths = Field((), description="Widths of the dense layers before the last.")
    blocks: Count = Field(1, description="Basic blocks in each stage.")
    batch_norm: bool = Field(False, description="Batch norm after each convolution.")
    activation: Literal["relu", "gelu", "tanh"] = Field("relu", description="The activation.")


class ModuleNetwork(Model):
    """A torch.nn.Module of your own; the one thing in a config that is executed."""

    kind: Literal["module"] = Field("module", description="A torch module of your own.")
    module: str = Field(description="path/to/file.py:ClassName, from the folder where Snakemake runs.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the class.")
    batch_norm: bool = Field(False, description="Whether it has batch norm layers.")

    def model_post_init(self, context: Any) -> None:
        if self.file.suffix != ".py" or not self.class_name.isidentifier():
            raise wrong("expected path/to/file.py:ClassName", "module", self.module)
        for name, item in self.arguments.items():
            if not name.isidentifier():
                raise wrong("expected names of keyword arguments", "arguments", name)
            if not _is_plain(item):
                raise wrong("expected numbers, texts, true, false, null, lists or mappings", f"arguments.{name}", item)

    @property
    def file(self) -> Path:
        """The Python file, `~` expanded."""
        return user_path(self.module.rpartition(":")[0])

    @property
    def class_name(self) -> str:
        """The class in that file."""
        return self.module.rpartition(":")[2]


AnyNetwork = ConvNetwork | ResNetwork | ModuleNetwork
Network = by_kind(*get_args(AnyNetwork))


def _is_plain(value: Any) -> bool:
    """Whether JSON keeps the value as it is."""
    try:
        return json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        return False


def parse_network(key: str, entry: Mapping[str, Any]) -> AnyNetwork:
    """The network found at `key`. `name` and `checksum`, which jobs and records add to it, are left aside."""
    return read(Network, key, {name: value for name, value in entry.items() if name not in ("name", "checksum")})
