"""`sightline doctor`: what is installed, whether the model is whole and true, what the data folder holds, limits."""

from dataclasses import asdict

import typer
from rich.markup import escape

from app.cli.console import out, print_json
from app.cli.options import AsJson, DataDir, Device, ModelName, load_settings


def doctor(data_dir: DataDir = None, model: ModelName = None, device: Device = None, as_json: AsJson = False) -> None:
    """Look for what could keep the server from working. Exits with 1 if anything could."""
    from app.cli.examination import examine

    settings = load_settings(data_dir=data_dir, model=model, device=device)
    checks = list(examine(settings))
    if as_json:
        print_json({"ok": all(check.ok for check in checks), "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            mark = "[green]ok  [/]" if check.ok else "[bold red]FAIL[/]"
            out.print(mark, f"{check.name}:", escape(check.detail), highlight=False, soft_wrap=True)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
