"""The peers: how each is installed, started and asked, each in an environment of its own."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import httpx

from bench.clients import ask, request, upload
from bench.peers.contest import Inputs, Rate

HERE = Path(__file__).parent
STARTS_S = 300
PACKAGES = {
    "infinity": "'infinity-emb[torch,vision,server]==0.0.78' aiohttp torch torchvision",
    "open_clip": "open_clip_torch torch torchvision fastapi uvicorn python-multipart",
    "transformers": "transformers torch torchvision",
    "clip-retrieval": "clip-retrieval 'setuptools<81' torch torchvision",
}
"""What each needs in its environment; one resolver takes torch and torchvision together."""

QUIET = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}
Ways = dict[str, Callable[[int, float], Rate]]
"""Texts and pictures: embedded with so many clients for so many seconds."""


def is_installed(name: str, folder: Path) -> bool:
    return _python(name, folder).exists()


def how_to_install(name: str, folder: Path) -> str:
    """Two commands."""
    python = _python(name, folder)
    return f"uv venv {folder / name} && uv pip install --python {python} {PACKAGES[name]}"


@contextmanager
def started(name: str, folder: Path, inputs: Inputs) -> Iterator[Ways]:
    """A peer that is ready to be measured."""
    opening = {"infinity": _infinity, "open_clip": _open_clip}.get(name)
    with opening(folder, inputs) if opening else _in_process(name, folder, inputs) as ways:
        yield ways


@contextmanager
def _infinity(folder: Path, inputs: Inputs) -> Iterator[Ways]:
    port, program = _free_port(), folder / "infinity" / "bin" / "infinity_emb"
    model = ["--model-id", str(folder / "models" / "hf"), "--served-model-name", "clip"]
    device = ["--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer"]
    server = ["--port", str(port), "--no-vector-disk-cache", "--log-level", "error"]
    texts = [{"model": "clip", "input": [text]} for text in inputs.texts]
    pictures = [{"model": "clip", "modality": "image", "input": [uri]} for uri in inputs.uris]
    with _server([str(program), "v2", *model, *device, *server], port) as url:
        yield {
            "texts": _asking(url, [request("/embeddings", inputs.json(body)) for body in texts]),
            "pictures": _asking(url, [request("/embeddings", inputs.json(body)) for body in pictures]),
        }


@contextmanager
def _open_clip(folder: Path, inputs: Inputs) -> Iterator[Ways]:
    port, script = _free_port(), str(HERE / "open_clip_server.py")
    command = [str(_python("open_clip", folder)), script, str(folder / "models" / "open_clip.pt"), str(port)]
    with _server(command, port) as url:
        yield {
            "texts": _asking(url, [request("/text", inputs.json([text])) for text in inputs.texts]),
            "pictures": _asking(url, [upload("/image", picture) for picture in inputs.pictures]),
        }


@contextmanager
def _in_process(name: str, folder: Path, inputs: Inputs) -> Iterator[Ways]:
    command = [str(_python(name, folder)), str(HERE / "in_process.py"), name, str(folder / "models" / "hf")]
    with subprocess.Popen(
        [*command, str(inputs.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | QUIET,
        text=True,
    ) as process:
        ways = _line(process).split()
        yield {what: _telling(process, what) for what in ways}
        process.communicate()  # its input ends, and so does it


def _telling(process: "subprocess.Popen[str]", what: str) -> Callable[[int, float], Rate]:
    def measure(clients: int, seconds: float) -> Rate:
        assert process.stdin is not None
        print(what, clients, seconds, file=process.stdin, flush=True)
        per_s, p50_s = map(float, _line(process).split())
        return Rate(per_s, p50_s)

    return measure


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"ended with {process.wait()}: {process.args}")
    return line


def _asking(url: str, requests: list[bytes]) -> Callable[[int, float], Rate]:
    endless = cycle(requests)

    def measure(clients: int, seconds: float) -> Rate:
        return Rate.of(ask(url, endless, clients, seconds))

    return measure


@contextmanager
def _server(command: list[str], port: int) -> Iterator[str]:
    """The address of a server that is ready."""
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | QUIET
    ) as process:
        try:
            _wait(process, url)
            yield url
        finally:
            process.terminate()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    ends = time.monotonic() + STARTS_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            httpx.get(f"{url}/health", timeout=60).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit(f"does not serve: {process.args}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _python(name: str, folder: Path) -> Path:
    return folder / name / "bin" / "python"
