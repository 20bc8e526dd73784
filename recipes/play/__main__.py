"""Watch a trained model act in the tasks of the recipes, beside its expert, on a page in the browser.

    python -m recipes.play                                    prints the address of the page; Ctrl-C ends it
    python -m recipes.play CartPole-v1 --out cart-pole.html   writes a page with this episode, which needs nothing else

The page shows for each timestep the frame, the tokens that the model reads, the distribution of each action token with
the id that was chosen, and the return so far, beside the expert's own episode of the same seed. `make play` runs this.
"""

import argparse
import logging
import sys
from pathlib import Path

from recipes.play.page import page, server
from recipes.play.player import Player
from recipes.scores import FIRST_SEED


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.play", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="with --out: the tasks to play")
    parser.add_argument("--checkpoint", default="demo", metavar="DIR", help="a run, an export, or demo (default)")
    parser.add_argument("--which", choices=("best", "last"), default="best", help="a run's checkpoint (default: best)")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, metavar="N", help=f"of episodes (default {FIRST_SEED})")
    parser.add_argument("--max-steps", type=int, default=0, metavar="N", help="cut episodes (default: as the recipe)")
    parser.add_argument("--port", type=int, default=8010, metavar="N", help="of the address; 0: a free one (8010)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a page instead of serving one")
    arguments = parser.parse_args()
    if bool(arguments.tasks) != bool(arguments.out):
        parser.error("--out FILE needs the tasks to play, and tasks need --out; served, the page has a choice of all")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every task that is compiled after the first
    player = Player(arguments.checkpoint, arguments.which, arguments.max_steps)
    if unknown := [task for task in arguments.tasks if task not in player.tasks]:
        parser.error(f"no task {', '.join(unknown)}; {arguments.checkpoint} knows {', '.join(player.tasks)}")
    return (
        _write(player, arguments.tasks, arguments.seed, arguments.out) if arguments.out else _serve(player, arguments)
    )


def _write(player: Player, tasks: list[str], seed: int, out: Path) -> int:
    episodes = {}
    for task in tasks:
        episodes[task] = list(player.lines(task, seed))
        print(f"{task}: {_ends(episodes[task])}", flush=True)
    out.write_text(page(player, seed, episodes), encoding="utf-8")
    print(out)
    return 0


def _ends(lines: list[dict[str, object]]) -> str:
    return ", ".join(f"{line['who']} {line['return']:g}" for line in lines if line.get("over"))


def _serve(player: Player, arguments: argparse.Namespace) -> int:
    try:
        found = server(player, arguments.port, arguments.seed)
    except OSError as error:
        raise SystemExit(f"port {arguments.port}: {error}; --port 0 takes a free one") from error
    with found:
        print(f"open http://127.0.0.1:{found.server_port}/ in a browser; Ctrl-C ends this", flush=True)
        try:
            found.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
