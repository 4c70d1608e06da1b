from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import CONFIG_FILE, Settings


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    assert Settings.model_fields[name].description


def test_flags_go_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    CONFIG_FILE.write_text("port = 1\nthreads = 1\nmodel = 'from-file'\n")
    monkeypatch.setenv("SIGHTLINE_PORT", "2")
    monkeypatch.setenv("SIGHTLINE_THREADS", "2")

    settings = Settings(port=3)

    assert (settings.port, settings.threads, settings.model) == (3, 2, "from-file")


def test_a_setting_that_does_not_exist_is_refused() -> None:
    CONFIG_FILE.write_text("prot = 8001\n")

    with pytest.raises(ValidationError, match="prot"):
        Settings()


def test_a_key_is_not_shown() -> None:
    assert "s3cret" not in repr(Settings.model_validate({"api_key": "s3cret-s3cret-s3cret"}))


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 16"):
        Settings.model_validate({"api_key": "short"})


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]
