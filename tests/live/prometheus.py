"""A real Prometheus for tests: its configuration and rules are those that are shipped, in shorter time."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from streams.ports import HOST
from streams.server import Server

SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus"
EVERY = "500ms"


def program() -> str | None:
    """Where it is; None where it is not installed."""
    return shutil.which("prometheus")


class Prometheus(Server):
    """Prometheus with the shipped rules, which wait two seconds where they wait for minutes.

    Parameters
    ----------
    targets
        Address of each job, ``host:port``.
    """

    name = "prometheus"

    def __init__(self, folder: Path, targets: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._targets = targets

    def _command(self, port: int) -> list[str]:
        found = program()
        assert found is not None
        config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [self._targets[job["job_name"]]]}]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        rules = (SHIPPED / "rules.yml").read_text()
        (self.folder / "rules.yml").write_text(re.sub(r"\n( +)for: \w+", r"\n\1for: 2s", rules))
        return [
            found,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={HOST}:{port}",
            "--log.level=warn",
        ]

    def _question(self) -> bytes:
        return b"GET /-/ready HTTP/1.0\r\n\r\n"

    def _signs(self, process: int) -> tuple[bytes, ...]:
        return (b" 200 OK", b"Prometheus Server is Ready.")

    def alerts(self) -> dict[str, str]:
        """The state of each alert, ``pending`` or ``firing``."""
        found = self._ask("alerts")["alerts"]
        return {alert["labels"]["alertname"]: alert["state"] for alert in found}

    def value(self, query: str) -> float:
        """What a query comes to; 0 where it comes to nothing."""
        found = self._ask(f"query?query={quote(query)}")["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def _ask(self, path: str) -> dict[str, list[dict[str, Any]]]:
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}", timeout=10) as answer:
            found: dict[str, list[dict[str, Any]]] = json.load(answer)["data"]
        return found
