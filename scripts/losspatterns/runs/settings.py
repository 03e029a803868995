"""All that a config may say. config/README.md and config/config.schema.json are made from it (scripts/describe_config.py)."""

from typing import Any

from pydantic import Field

from ..analysis.settings import StudySettings
from ..config.fields import Many, Name, Seed, Several
from ..config.model import Model
from ..config.reading import check_keys, read
from ..data.mask_settings import Mask
from ..data.settings import DatasetSettings
from ..errors import InputError
from ..method.settings import Recipe, TrainingSettings
from ..networks.settings import Network


class Experiment(TrainingSettings):
    """Pictures that are trained and evaluated together. Which pictures: those that the figures draw."""

    seeds: Several[Seed] = Field(description="A plane is trained with each; figures show the first.")
    films: Many[str] = Field((), description="Pictures whose films `all` draws, if figures draw them.")


class Settings(Model):
    """A whole config. What nothing draws is no error."""

    scale: Name = Field(description="Results go to `results/<scale>/`, figures to `figures/<scale>/`.")
    agent: str | None = Field(None, description="Who runs it, for `snakemake crate`: a name, or https://orcid.org/...")
    save_state_every: int = Field(ge=1, le=10**9, description="Seconds between saves of an unfinished training or surface.")
    datasets: dict[Name, DatasetSettings] = Field(description="Data sets by name.")
    masks: dict[Name, Mask] = Field(description="Pictures by name.")
    networks: dict[Name, Network] = Field(description="Networks by name.")
    recipes: dict[Name, Recipe] = Field(description="Recipes by name (config/recipes.yaml).")
    experiments: dict[Name, Experiment] = Field(description="Experiments by name.")
    studies: dict[Name, StudySettings | None] = Field(default_factory=dict, description="Studies by name; null: not run.")
    figures: dict[Name, dict[str, Any] | None] = Field(description="Figures by name: kind and its options; null: not drawn.")
    beyond: dict[Name, dict[str, Any] | None] = Field(
        default_factory=dict, description="Parts of `snakemake beyond` by name: kind and its options; null: left out."
    )
    benchmarks: dict[str, Any] = Field(description="What `snakemake benchmarks` measures.")


def check(raw: Any) -> Settings:
    """The settings of a whole config. InputError for the first key that is wrong."""
    try:
        check_keys(raw)
    except RecursionError:
        raise InputError("top level: nested too deeply, or a list that contains itself (a YAML alias)") from None
    return read(Settings, "", raw)
