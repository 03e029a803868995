"""What a config says of studies: random squares on several networks, and which of these are compared."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from ..config.fields import Fraction, Many, PathText, Several, Shown, SquareSize
from ..config.model import Model, as_tuple, listed_once, wrong
from ..method.settings import TrainingSettings
from ..networks.settings import Protocol

MOST_SQUARES = 1000  # of a probability: seeds of the next one follow
MOST_NETWORKS = 6  # of a study: the figure has so many colours
NUMBERS = re.compile(r"(\d+)-(\d+)")
Repeats = Annotated[int, Field(ge=1, le=MOST_SQUARES)]
RepeatsOfEach = Annotated[
    Annotated[Repeats, Tag("#all")] | Annotated[Many[Repeats], Tag("#each")],
    Discriminator(lambda value: "#each" if isinstance(value, list | tuple) else "#all"),
]


class Comparison(Model):
    """Two networks of a study, compared square by square."""

    network: str = Field(description="The network in question, one of the study's.")
    against: str = Field(description="The network that it is compared with, another one.")
    bn_protocol: Protocol = Field("batch", description="Batch norm's statistics in networks that have batch norm.")
    claims: Literal["batch_norm", "residual"] | None = Field(
        None, description="The paper's claims that it tests: what batch norm does, what residual connections do; null: none."
    )


def _numbered(value: Any) -> Any:
    """A range, as in 8-10, stands for its numbers."""
    if isinstance(value, str):
        ends = NUMBERS.fullmatch(value)
        if not ends or not (low := int(ends[1])) <= (high := int(ends[2])) < MOST_SQUARES:
            raise wrong("expected numbers of squares, as in [8, 9] or 8-10", found=value)
        return tuple(range(low, high + 1))
    return as_tuple(value)


SquareNumber = Annotated[int, Field(ge=0, lt=MOST_SQUARES)]


class StudySettings(TrainingSettings):
    """Random squares on several networks. Every square is drawn and trained by random numbers of its own."""

    comparisons: Many[Comparison] | None = Field(
        None, description="Which networks are compared; null: each with the first of `networks`, for no claim of the paper."
    )
    part: Annotated[tuple[SquareNumber, ...], BeforeValidator(_numbered), AfterValidator(listed_once)] | None = Field(
        None, description="Numbers of the squares that this run trains, [8, 9] or 8-10; null: all that `scores` lack."
    )
    scores: Many[PathText] = Field(
        (), description="Scores (.csv) of other runs of this study, whose squares count too and are not trained again."
    )
    size: SquareSize = Field(description="[rows, columns] of a square.")
    probabilities: Several[Fraction] = Field(description="Probabilities that a pixel is white.")
    squares: RepeatsOfEach = Field(description="Squares of each probability; a list has a number for each.")
    first: SquareNumber = Field(0, description="The number of the first square: another one leaves out those before it.")
    title: Shown = Field("", max_length=40, description="Stands above its panels in the figure.")

    def model_post_init(self, context: Any) -> None:
        if len(self.networks) > MOST_NETWORKS:
            raise wrong(f"expected at most {MOST_NETWORKS}", "networks", list(self.networks))
        if isinstance(self.squares, tuple) and len(self.squares) != len(self.probabilities):
            raise wrong(f"expected a number, or {len(self.probabilities)}, as probabilities has", "squares", list(self.squares))
        if "test" not in self.surface.splits:
            raise wrong(
                "expected test among them: a study is scored on test images", "surface.splits", list(self.surface.splits)
            )
        last = self.first + max(map(self.squares_of, self.probabilities)) - 1
        if last >= MOST_SQUARES:
            raise wrong(f"expected squares up to number {MOST_SQUARES - 1}; these go up to {last}", "squares")
        if self.part and not self.first <= min(self.part) <= max(self.part) <= last:
            raise wrong(f"expected numbers of squares from {self.first} to {last}", "part", list(self.part))
        for number, pair in enumerate(self.comparisons or ()):
            if pair.network == pair.against:
                raise wrong("expected another network than `network`", f"comparisons[{number}].against", pair.against)
            if pair in self.comparisons[:number]:
                raise wrong("is there already", f"comparisons[{number}]")

    def squares_of(self, probability: float) -> int:
        """How many squares this probability has."""
        return self.squares if isinstance(self.squares, int) else self.squares[self.probabilities.index(probability)]

    def numbers_of(self, probability: float) -> range:
        """The numbers of the squares of this probability."""
        return range(self.first, self.first + self.squares_of(probability))

    @property
    def compared(self) -> tuple[Comparison, ...]:
        """The comparisons; if none are named, of each network with the first, under the first protocol that is evaluated."""
        if self.comparisons is not None:
            return self.comparisons
        first, *others = self.networks
        protocol = self.surface.bn_protocols[0]
        return tuple(Comparison(network=name, against=first, bn_protocol=protocol) for name in others)
