"""Where the server is, and how it is spoken to: what both clients share."""

import inspect
import ipaddress
import os
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar, get_args

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 5.0

F = TypeVar("F", bound=Callable[..., Any])


def http_options(url: str | None, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    """What httpx's clients are made with; `SIGHTLINE_URL` and `SIGHTLINE_API_KEY` say what is left out."""
    url = url or os.environ.get("SIGHTLINE_URL") or DEFAULT_URL
    api_key = (api_key or os.environ.get("SIGHTLINE_API_KEY", "")).strip()
    return {
        "base_url": url,
        "headers": {"User-Agent": "sightline-client"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
        "timeout": httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        "trust_env": not _is_local(httpx.URL(url).host),  # a proxy of the environment could not reach this machine
    }


def described(method: F, make: Callable[..., Any]) -> F:
    """A method with the name, the signature and the description of the function that makes its call."""
    update_wrapper(method, make)
    signature = inspect.signature(make)
    [answer] = get_args(signature.return_annotation)
    client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [client, *signature.parameters.values()]
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=answer)  # type: ignore[attr-defined]
    return method


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
