"""Where in a picture a query matches."""

from pydantic import ConfigDict, Field

from app.schemas.base import Body, Schema
from app.schemas.search import Query


class ExplainBody(Body):
    """The query of a search."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "red dress"}]})

    query: Query


class Box(Schema):
    """A rectangle in the upright picture, as fractions of its width and height; below 0 and above 1 lies padding."""

    left: float = Field(examples=[0.0])
    top: float = Field(examples=[-0.25])
    right: float = Field(examples=[1.0])
    bottom: float = Field(examples=[1.25])


class HeatMap(Schema):
    """How much each cell of a picture contributes to its match with a query."""

    score: float = Field(
        description="Cosine of the query and the whole picture, as search tells it in `scores`.", examples=[0.31]
    )
    grid: list[list[float]] = Field(
        description="Rows from the top, each from the left: what `score` loses on average when windows over the cell "
        "are hidden; negative where hiding raises it.",
        examples=[[[0.002, 0.013], [0.004, 0.087]]],
    )
    rows: int = Field(examples=[2])
    columns: int = Field(examples=[2])
    box: Box = Field(description="Where the grid lies: models crop pictures, or pad them.")
    image: str = Field(
        description="The picture in grey under the heat, as the `data:` URI of a PNG at most 512 pixels long.",
        examples=["data:image/png;base64,iVBORw0KGgo="],
    )
