"""Models of the config's sections: one pydantic model each, with key, type, range, default and meaning of every key."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union

from pydantic import BaseModel, BeforeValidator, Discriminator, Tag, model_validator
from pydantic_core import PydanticCustomError


def wrong(expected: str, at: str = "", found: Any = None) -> PydanticCustomError:
    """The error of a validator: `expected` says what would be right; `at` names the key below the model."""
    shown = f"found {found!r}, {expected}" if found is not None else expected
    return PydanticCustomError("told", "{text}", {"text": shown, "at": at})


class Model(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True):
    """A section of the config: no unknown keys, no conversions (but lists to tuples), immutable."""

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for name in data:
                if name not in cls.model_fields:
                    kind = data.get("kind") if "kind" in cls.model_fields else None
                    what = f"kind {kind} has" if isinstance(kind, str) else "allowed are"
                    raise wrong(f"unknown key; {what} {', '.join(cls.model_fields)}", str(name))
        return data


def plain(model: Model, **which: Any) -> dict[str, Any]:
    """A section of the settings as plain values."""
    return model.model_dump(mode="json", **which)


def line(value: Any) -> str:
    """Plain values as one line of JSON: as jobs get them."""
    return json.dumps(value, sort_keys=True)


def short_digest(model: Model) -> str:
    """Eight hex digits that stand for a model's values in a file name."""
    return hashlib.sha256(line(plain(model)).encode()).hexdigest()[:8]


def as_tuple(value: Any) -> Any:
    """A list as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def exactly(*names: str) -> BeforeValidator:
    """A list of as many entries as `names`, which say what they are, passes."""

    def has_all(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(names):
            raise wrong(f"found {value!r}, expected [{', '.join(names)}]")
        return tuple(value)

    return BeforeValidator(has_all)


def listed_once(values: Sequence[Any]) -> Any:
    """At least one entry, none twice, passes."""
    if len(values) == 0 or len(set(map(repr, values))) != len(values):
        raise wrong("expected at least one entry, none twice", found=list(values))
    return values


def by_kind(*models: type[Model]) -> Any:
    """A field that is one of these models, told apart by `kind`.

    A config that redefines an entry of a lower file as another kind takes the other kind's keys out with null.
    """
    kinds = {model.model_fields["kind"].annotation.__args__[0]: model for model in models}

    def of_its_kind(data: Any) -> Any:
        if isinstance(data, models):
            return data
        if not isinstance(data, Mapping):
            raise wrong("expected keys and values, `kind` among them", found=str(data))
        expected = f"expected one of {', '.join(kinds)}"
        if "kind" not in data:
            raise wrong(f"missing; {expected}", "kind")
        if not isinstance(data["kind"], str) or data["kind"] not in kinds:
            raise wrong(f"found {data['kind']!r}, {expected}", "kind")
        known = kinds[data["kind"]].model_fields
        others = {name for model in kinds.values() for name in model.model_fields if name not in known}
        for name in data:
            if name in others and data[name] is not None:
                left = f"if another config file, below this one, says it of another kind, write {name}: null here"
                raise wrong(f"unknown key; kind {data['kind']} has {', '.join(known)}; {left}", name)
        return {name: value for name, value in data.items() if name not in others}

    told = Discriminator(lambda data: f"#{data['kind'] if isinstance(data, Mapping) else data.kind}")
    tagged = tuple(Annotated[model, Tag(f"#{kind}")] for kind, model in kinds.items())
    return Annotated[Union[tagged], told, BeforeValidator(of_its_kind)]  # noqa: UP007 (of as many as there are)
