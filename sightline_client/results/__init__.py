"""What the server answers, as its OpenAPI document describes it."""

from sightline_client.results.base import FieldError, JsonObject, Modality, Problem, Signal
from sightline_client.results.embeddings import Classification, Embedding, Embeddings, LabelScore, Usage
from sightline_client.results.items import Duplicate, Item, ItemFlag, PutItem, RefusedItem, SelectedItem, StoredItem
from sightline_client.results.jobs import Job, JobError, Progress, RowReport
from sightline_client.results.rules import Flag, Rule
from sightline_client.results.search import (
    Box,
    Explanation,
    FacetValue,
    FailedSearch,
    HeatMap,
    Hit,
    Plan,
    SearchResults,
    SignalShare,
    TermShare,
    Took,
)
from sightline_client.results.service import Collection, Generation, Index, Model, Readiness

__all__ = [
    "Box",
    "Classification",
    "Collection",
    "Duplicate",
    "Embedding",
    "Embeddings",
    "Explanation",
    "FacetValue",
    "FailedSearch",
    "FieldError",
    "Flag",
    "Generation",
    "HeatMap",
    "Hit",
    "Index",
    "Item",
    "ItemFlag",
    "Job",
    "JobError",
    "JsonObject",
    "LabelScore",
    "Modality",
    "Model",
    "Plan",
    "Problem",
    "Progress",
    "PutItem",
    "Readiness",
    "RefusedItem",
    "RowReport",
    "Rule",
    "SearchResults",
    "SelectedItem",
    "Signal",
    "SignalShare",
    "StoredItem",
    "TermShare",
    "Took",
    "Usage",
]
