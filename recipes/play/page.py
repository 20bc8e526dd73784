"""The page that shows episodes: written whole, with its episodes in it, or served, which plays them when asked."""

import contextlib
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from recipes.play.player import Player

_TEMPLATE = Path(__file__).with_name("page.html")
_GAP = "{{ data }}"  # of the template


def page(player: Player, seed: int, episodes: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> str:
    """Write the page as HTML, which loads no other file.

    seed: where the choice of one begins. episodes: {task: its lines}; without any, the page asks the server for them.
    """
    shown = player.tasks if episodes is None else {task: player.tasks[task] for task in episodes}
    data = {
        "model": player.folder,
        "seed": seed,
        "tasks": [{"name": task, "recipe": recipe, **player.acting(task)} for task, (recipe, _) in shown.items()],
        "episodes": episodes,
    }
    text = json.dumps(data).replace("<", "\\u003c")  # or a name could end the script that it stands in
    return _TEMPLATE.read_text(encoding="utf-8").replace(_GAP, text)


def server(player: Player, port: int, seed: int) -> ThreadingHTTPServer:
    """Make a server of the page, for this machine alone.

    It answers `/` with the page, and `/episode?task=NAME&seed=N` with a line of JSON for each timestep as it is played;
    a last line says what went wrong, if anything did. port: 0 takes a free one. Raises OSError for one in use.
    """
    handler = type("Handler", (_Handler,), {"player": player, "seed": seed})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


class _Handler(BaseHTTPRequestHandler):
    player: Player
    seed: int

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(address.query))
        if address.path == "/":
            self._begin(200, "text/html; charset=utf-8")
            self.wfile.write(page(self.player, self.seed).encode())
        elif address.path == "/episode" and asked.get("task") in self.player.tasks and asked.get("seed", "").isdigit():
            self._begin(200, "application/x-ndjson")
            with contextlib.suppress(ConnectionError):  # another task was chosen, or the page closed
                self._send_episode(asked["task"], int(asked["seed"]))
        else:
            self._begin(404, "text/plain; charset=utf-8")
            self.wfile.write(f"here are / and /episode?task=NAME&seed=N, not {self.path}\n".encode())

    def _begin(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _send_episode(self, task: str, seed: int) -> None:
        with contextlib.closing(self.player.lines(task, seed)) as lines:
            try:
                for line in lines:
                    self.wfile.write(json.dumps(line).encode() + b"\n")
            except ConnectionError:
                raise
            except Exception as error:  # of an environment: the page shows it
                self.wfile.write(json.dumps({"told": f"{type(error).__name__}: {error}"}).encode() + b"\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""
