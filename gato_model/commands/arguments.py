"""The arguments of the commands. Nothing is imported for them: help and a refused option take no time."""

import argparse

from gato_model.shipped import model_path
from gato_tokenize.command_line import CommandParser
from gato_tokenize.storage.place import local_path
from gato_tokenize.storage.store_path import place

PRESETS = ("tiny", "small", "baseline", "large")  # class methods of GatoConfig
EPISODES = 50  # rollouts a task (section 4)
FIRST_SEED = 1_000_000  # far from the seeds of demonstrations, which count from 0
ROWS = 50


def _count(text: str) -> int:
    """Read a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number


def train(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--data", required=True, nargs="+", metavar="DIR[:WEIGHT]", help="converted datasets (NAME/VERSION) to mix")
    add("--out", required=True, type=local_path, metavar="RUN", help="the run's folder; the same command goes on in it")
    add("--preset", choices=PRESETS, help="the model's sizes (default tiny)")
    add(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=NUMBER",
        help="other sizes: any field of GatoConfig (vocabulary_size and local_positions follow the data)",
    )
    add("--sequence-length", type=_count, metavar="N", help="tokens of a training sequence (default 1024)")
    add("--steps", type=_count, metavar="N", help="steps to train (fine-tuning: 10000)")
    add(
        "--batch-size",
        type=_count,
        metavar="N",
        help="sequences of a step, on all workers (default 512, fine-tuning 64)",
    )
    add("--learning-rate", type=float, metavar="X", help="the highest (default 1e-4, fine-tuning: 1e-5, constant)")
    add("--warmup-steps", type=int, metavar="N", help="(default 15000, or a tenth of --steps if that is less)")
    add("--final-rate", type=float, metavar="F", help="fraction of the learning rate at the last step (default 0.1)")
    parser.add_flag(
        "--ordered-start", help="begin with neighbouring bins of continuous values alike, not with unrelated vectors"
    )
    add(
        "--smoothing",
        type=float,
        default=0.0,
        metavar="F",
        help="fraction of the target that the neighbours of a continuous value's bin share (default 0)",
    )
    add("--weight-decay", type=float, metavar="X", help="(default 0.1, fine-tuning 0)")
    add("--clip-norm", type=float, metavar="X", help="longest gradient (default: no clipping)")
    add("--seed", type=int, default=0, metavar="N", help="seed of weights, batches and dropout (default 0)")
    add(
        "--prompt-share",
        type=float,
        default=0.25,
        metavar="F",
        help="fraction of agent sequences that get a prompt (default 0.25)",
    )
    add(
        "--history-dropout",
        type=float,
        default=0.0,
        metavar="F",
        help="fraction of agent sequences in which no timestep sees another (default 0)",
    )
    add(
        "--min-expert-share",
        type=float,
        metavar="F",
        help="leave out episodes below this fraction of the expert's return",
    )
    add(
        "--fine-tune",
        type=model_path,
        metavar="RUN",
        help="start from the weights of a run, its best ones, of an export, or of `demo`",
    )
    add("--dtype", default="float32", choices=("float32", "mixed_bfloat16"), help="(default float32)")
    add("--accumulate", type=_count, default=1, metavar="N", help="parts of a batch, one after the other (default 1)")
    parser.add_flag("--rematerialize", help="less memory for more time")
    parser.add_flag("--jit", help="compile with XLA")
    add("--log-every", type=_count, default=10, metavar="N", help="steps (default 10)")
    add("--evaluate-every", type=int, default=500, metavar="N", help="steps, on the validation splits (default 500)")
    add("--evaluation-batches", type=_count, default=8, metavar="N", help="(default 8)")
    add("--save-every", type=_count, default=500, metavar="N", help="steps (default 500)")
    add(
        "--read-threads",
        type=_count,
        default=1,
        metavar="N",
        help="records that are decompressed at a time (default 1)",
    )
    add("--keep", type=_count, default=3, metavar="N", help="checkpoints beside the best (default 3)")
    parser.add_config()
    parser.add_output("each line of metrics.jsonl, as it is logged")


def evaluate(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--checkpoint", required=True, type=model_path, metavar="RUN", help="folder of a run, an export, or `demo`")
    add("--which", choices=("best", "last"), default="best", help="checkpoint (default: best)")
    add("--env", required=True, nargs="+", metavar="ID", help="for gymnasium.make: BabyAI-GoToLocal-v0, module:Id-v0")
    add(
        "--env-options",
        nargs="+",
        default=["{}"],
        metavar="JSON",
        help="more arguments of gymnasium.make, as when it was recorded; several, or several --env, are several tasks",
    )
    add("--image", default="", metavar="HOW", help="MiniGrid and BabyAI: symbolic (default), cells or rgb")
    add("--roles", default="", metavar="PATH:ROLE,...", help="what its fields were taken for, as when it was recorded")
    add("--resize", metavar="HxW", help="size of its pictures, as when it was recorded")
    add("--task", metavar="NAME", help="task whose spec to use (default: the one that the options above name)")
    add("--episodes", type=_count, metavar="N", help=f"how many (default {EPISODES})")
    add("--seeds", metavar="S", help=f"FIRST (default {FIRST_SEED}), FIRST:COUNT, or a list A,B,C")
    add("--rows", type=_count, default=ROWS, metavar="N", help=f"environments at a time (default {ROWS})")
    add(
        "--max-steps",
        type=int,
        default=0,
        metavar="N",
        help="cut episodes after N steps (default: only the environment ends them)",
    )
    add("--stop", choices=("end", "success"), default="end", help="where episodes end (default: at their end)")
    add("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest id (default)")
    add(
        "--continuous",
        choices=("draw", "mean"),
        default="draw",
        help="numbers of actions: by --temperature (default), or their expected values",
    )
    add("--seed", type=int, default=0, metavar="N", help="added to the episodes' seeds for the draws (default 0)")
    add(
        "--context",
        choices=("memory", "window", "timestep"),
        default="memory",
        help="what an action sees: as much as fits (memory, window), or its own timestep alone (default: memory)",
    )
    add("--prompt", type=place, metavar="DATA", help="dataset whose first episode of the task is the prompt")
    add("--data", type=place, nargs="+", metavar="DATA", help="datasets whose demonstrations are the expert")
    add("--expert-return", type=float, nargs="+", metavar="R", help="the expert's return in each task, not by --data")
    add("--video", type=local_path, metavar="FILE", help="the first episode as .gif or .mp4")
    parser.add_output("all numbers as one JSON object")


def generate(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--checkpoint", required=True, type=model_path, metavar="RUN", help="folder of a run, an export, or `demo`")
    add("--which", choices=("best", "last"), default="best", help="checkpoint (default: best)")
    add("--text", metavar="TEXT", help="text to continue")
    add("--image", type=local_path, metavar="FILE", help="picture to caption, or to ask about")
    add("--question", metavar="TEXT", help="about the picture")
    add("--max-tokens", type=_count, default=100, metavar="N", help="most pieces to write (default 100)")
    add("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest piece (default)")
    add("--top-k", type=int, default=0, metavar="K", help="draw among the K likeliest; 0: among all (default)")
    add("--seed", type=int, default=0, metavar="N", help="of the draws (default 0)")
    parser.add_output("the text in a JSON object")


def export(parser: CommandParser) -> None:
    add = parser.add_argument
    add("run", type=local_path, metavar="RUN", help="folder of a training run")
    add("out", type=local_path, metavar="OUT", help="new folder: config.json, model.safetensors and the tokenizer")
    add("--which", choices=("best", "last"), default="best", help="checkpoint (default: best)")
    parser.add_flag("--half", help="write the weights as float16: half the size")
    add("--task", metavar="NAME", help="also write OUT/saved_model, which acts in this task with TensorFlow alone")
    add("--rows", type=_count, default=1, metavar="N", help="environments that it acts in at a time (default 1)")
    add("--temperature", type=float, default=0.0, metavar="T", help="its actions: 0 takes the likeliest id (default)")
    add("--prompt", type=place, metavar="DATA", help="dataset whose first episode of the task is its prompt")
    parser.add_output("what was written as one JSON object")
