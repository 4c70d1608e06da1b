import re
import shlex
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.conftest import Run, client_of
from tests.fakes import FakeEncoder


def models(client: TestClient, key: str) -> int:
    return client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code


def test_keys_are_made_and_revoked_beside_a_running_server(run: Run, settings: Settings, encoder: FakeEncoder) -> None:
    with client_of(settings, encoder) as client:
        folder = ("--data-dir", settings.data_dir)
        made = run("keys", "create", "--name", "shop", "--collections", "shop*, default", "--expires", "90d", *folder)
        key = made.out.strip()
        assert (made.code, models(client, key), models(client, "x")) == (0, 200, 401)
        [listed] = run("keys", "list", "--json", *folder).json
        assert run("keys", "revoke", listed["id"], *folder).code == 0
        assert models(client, key) == 401
    assert (listed["name"], listed["scopes"], listed["collections"]) == ("shop", ["read"], ["shop*", "default"])
    assert listed["state"] == "valid"
    assert listed["expires_at"] > listed["created_at"]
    assert key not in run("keys", "list", *folder).out
    assert [entry["action"] for entry in run("audit", "--json", *folder).json] == ["keys create", "keys revoke"]
    assert "keys revoke" in run("audit", *folder).out


def test_keys_can_be_made_before_the_first_start(run: Run, settings: Settings, encoder: FakeEncoder) -> None:
    first = run("keys", "create", "--scope", "read,admin", "--json", "--data-dir", settings.data_dir)
    second = run("keys", "create", "--data-dir", settings.data_dir)

    with client_of(settings, encoder) as client:
        assert models(client, first.json["key"]) == 200
    assert first.json["scopes"] == ["read", "admin"]
    assert f"no catalogue in {settings.data_dir}" in first.err
    assert "no catalogue" not in second.err


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("keys", "create", "--scope", "root"), 1, "read, write, admin"),
        (("keys", "create", "--collections", "a b"), 1, "collections are named"),
        (("keys", "create", "--expires", "soon"), 2, "90d"),
        (("keys", "create", "--expires", "999999w"), 2, "90d"),
        (("keys", "revoke", "abc"), 1, "data is no data folder"),
        (("keys", "list"), 1, "data is no data folder"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, arguments: tuple[str, ...], code: int, reason: str) -> None:
    ran = run(*arguments, "--data-dir", "data")

    assert ran.code == code
    assert reason in ran.err + ran.out


def test_a_key_that_is_not_there_cannot_be_revoked(run: Run) -> None:
    run("keys", "create", "--data-dir", "my data")

    ran = run("keys", "revoke", "abc", "--data-dir", "my data")

    assert "no key 'abc'; `sightline keys list --data-dir 'my data'` shows them" in ran.err


def test_who_makes_a_key_is_told_how_to_end_it(run: Run) -> None:
    made = run("keys", "create", "--data-dir", "my data")
    [revoke] = re.findall("`sightline (.*)`", made.err)

    assert "is revoked" in run(*shlex.split(revoke)).out


def test_commands_that_lack_a_key_say_how_to_give_it(run: Run, settings: Settings, server_url: str) -> None:
    run("keys", "create", "--data-dir", settings.data_dir)

    ran = run("jobs", "list", "--url", server_url)

    assert (ran.code, ran.out) == (1, "")
    assert "--api-key or SIGHTLINE_API_KEY" in ran.err


def test_without_admin_actions_the_audit_log_is_empty(run: Run) -> None:
    assert run("audit", "--json", "--data-dir", "data").json == []


def test_a_server_with_a_key_may_be_reached_from_elsewhere(run: Run, tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path / "data")
    alone = run("serve", "--host", "0.0.0.0", "--model", "none", *folder)
    run("keys", "create", *folder)
    with_key = run("serve", "--host", "0.0.0.0", "--model", "none", "--port", 0, *folder)

    assert "sightline keys create" in alone.err
    assert "no model 'none'" in with_key.err, "it got further"


def test_a_key_is_shown_also_where_it_cannot_be_noted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "audit.jsonl").mkdir(parents=True)

    made = run("keys", "create", "--data-dir", tmp_path / "data")

    assert made.code == 1
    assert made.out.startswith("sightline_")
    assert "audit.jsonl" in made.err
