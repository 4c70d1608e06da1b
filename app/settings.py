"""What can be configured, in one frozen class: flags before `SIGHTLINE_*` variables before `sightline.toml`."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from app.observation.logs import LogFormat
from models.imaging import ImageLimits

CONFIG_FILE = Path("sightline.toml")


class Settings(BaseSettings):
    """Built once, where the process starts, and given to `create_app`; lower rooms receive values."""

    model_config = SettingsConfigDict(
        env_prefix="SIGHTLINE_", toml_file=CONFIG_FILE, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(
        default=Path("sightline-data"),
        description="Folder of the catalogue, the original pictures, the index and added models.",
    )
    model: str = Field(
        default="default",
        description="Model of the collection `default` when it is first made, and of requests that name none.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        description="Processes that answer searches, each with a model of its own, beside the one that writes; with 0 "
        "that one does both.",
    )
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        default="auto",
        description="Where the model runs and built segments are searched; `auto` takes a GPU when there is one.",
    )
    threads: int = Field(
        default=1,
        ge=0,
        description="CPU threads of one run of a tower; as many runs go on at once as the cores allow. More make one "
        "request faster and many slower; 0 takes one per physical core.",
    )
    query_cache_size: int = Field(
        default=4096,
        ge=0,
        description="Embeddings of texts and pictures that are kept per model, so that what is searched for again is "
        "not embedded again; 0 keeps none.",
    )
    thumbnail_cache_bytes: int = Field(
        default=32 * 2**20, ge=0, description="Most bytes of thumbnails that are kept in memory; 0 keeps none."
    )
    max_image_bytes: int = Field(default=20 * 2**20, ge=1, description="Most bytes of one encoded picture.")
    max_image_pixels: int = Field(default=50_000_000, ge=1, description="Most pixels of one decoded picture.")
    max_image_frames: int = Field(default=100, ge=1, description="Most frames of one animated picture.")
    max_body_bytes: int = Field(default=64 * 2**20, ge=1, description="Most bytes of one request's body.")
    max_batch_items: int = Field(default=512, ge=1, description="Most items in one batch request.")
    max_embedding_inputs: int = Field(default=2048, ge=1, description="Most inputs in one embeddings request.")
    max_catalogue_bytes: int = Field(
        default=20 * 2**30, ge=1, description="Most bytes of one catalogue that is uploaded or downloaded."
    )
    ingest_roots: tuple[str, ...] = Field(
        default=(),
        description="Folders, and prefixes of object stores such as s3://bucket/catalogues, that ingest jobs may read "
        "from; credentials of a store come from its own variables (AWS_...).",
    )
    running_jobs: int = Field(
        default=2, ge=1, description="Jobs that run at a time; of one collection it is one of each kind."
    )
    url_ranges: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Networks that URLs of pictures, catalogues and webhooks may lead to although they are not public, "
        "e.g. 10.1.0.0/16.",
    )
    index_memory_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Most bytes of a graph that makes the search of a large index fast; beyond, lists of codes take an "
        "eighth of them. A quarter of the machine's memory when left out.",
    )
    api_key: SecretStr | None = Field(
        default=None, min_length=16, description="A key with all scopes, beside those of `sightline keys`."
    )
    allow_anonymous: bool = Field(
        default=False, description="Serve on other addresses than loopback without a key: anyone can then write."
    )
    clip_retrieval: bool = Field(
        default=False,
        description="Also speak clip-retrieval's protocol: `POST /knn-service`, `POST /metadata`, `GET /indices-list`.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names under which requests may reach the server; on loopback without a key only this machine's "
        "own when left out, else any.",
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Sites whose pages may call the API from a browser, e.g. https://shop.example.",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, e.g. 10.0.0.5."
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Requests of one key, or of one address without a key; no limit when left out."
    )
    pictures_per_minute: int | None = Field(
        default=None, ge=1, description="Pictures that one key may have embedded; no limit when left out."
    )
    rows_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Items, searches and inputs in batch requests of one key; no limit when left out.",
    )
    header_timeout_s: int = Field(default=10, ge=1, description="Seconds within which a request's headers must come.")
    body_timeout_s: int = Field(
        default=30, ge=1, description="Seconds waited for a request's body, and one more for each KiB that has come."
    )
    shutdown_delay_s: int = Field(
        default=0,
        ge=0,
        description="Seconds after SIGTERM in which requests are still taken while /readyz says no, so that a load "
        "balancer sends no more.",
    )
    shutdown_timeout_s: int = Field(default=10, ge=0, description="Seconds that running requests then get to end.")
    min_free_bytes: int = Field(
        default=256 * 2**20,
        ge=0,
        description="Free bytes on the data folder's disk below which uploads are refused and jobs wait.",
    )
    log_format: LogFormat = Field(
        default="text", description="How the log is written to stderr: lines for people, or a JSON object a line."
    )
    log_queries: bool = Field(
        default=False,
        description="Write what follows the `?` of addresses to the log, too: search texts are there.",
    )
    slow_search_ms: int = Field(
        default=1000,
        ge=0,
        description="Searches that take so many milliseconds are logged with their plan, without what they look for.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        pattern="^https?://",
        description="Address of an OpenTelemetry collector that takes traces by HTTP, e.g. http://127.0.0.1:4318; "
        "needs the extra `otel`.",
    )

    @property
    def image_limits(self) -> ImageLimits:
        """What one picture may cost."""
        return ImageLimits(self.max_image_bytes, self.max_image_pixels, self.max_image_frames)

    @property
    def models_dir(self) -> Path:
        """Folder of the models that `sightline model add` made."""
        return self.data_dir / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
