"""python -m numpygpt.pretrain: train a GPT-2 of any size on text, from scratch or from a pretrained model."""

import numpygpt.system.process  # noqa: F401  before NumPy

import time
from pathlib import Path

import numpy as np

from . import __version__
from .checkpoints.huggingface import save_folder
from .checkpoints.load import load_checkpoint
from .model.config import Config
from .model.parameters import fingerprint, random_parameters
from .system import blas, command
from .system.errors import InputError
from .system.files import replacing
from .system.interrupt import ctrl_c_waits
from .system.memory import keep_freed_memory
from .system.settings import PRETRAINING, Number
from .system.single_process import SingleProcess
from .text.bpe import learn_bpe
from .text.documents import read_documents
from .text.tokenizer import load_tokenizer
from .training.plots import plot_perplexity, save_plot
from .training.pretraining import PART, Pretraining, perplexity, windows
from .training.ranks import on_every_rank

RESUME = "resume.safetensors"
HEADS = 5  # of a new model


def arguments(argv=None):
    parser = command.parser(
        "pretrain",
        "Train a GPT-2 language model to predict every token of a text from the tokens before it. Training from "
        "scratch learns a vocabulary from the text first. The result is an ordinary Hugging Face folder, which "
        "numpygpt.train, numpygpt.generate and transformers can load. It also holds curve.csv, and curve.png where "
        "matplotlib is installed. To resume an interrupted run, give the same command again. --steps may differ; the "
        "learning rate then follows the new schedule.",
        [
            "python -m numpygpt.pretrain sms.txt:3 chat.txt --lines --layers 4 --out small",
            "mpiexec -n 4 python -m numpygpt.pretrain chat.txt --lines --out small",
            "python -m numpygpt.pretrain mails.txt --from gpt2 --lr 1e-4 --out gpt2-mails",
        ],
    )
    number = {name: command.number(wanted) for name, wanted in PRETRAINING.items()}
    count = command.number(Number(int, 1))
    parser.add_argument(
        "text",
        nargs="+",
        type=weighted_file,
        metavar="FILE[:WEIGHT]",
        help="UTF-8 text files, each of which is one document. sms.txt:3 uses the file three times. With --lines, "
        "mail.txt:0.5 uses half of its lines",
    )
    parser.add_argument("--lines", action="store_true", help="make each line of a file a document of its own")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder to write: a new folder, or that of an interrupted run"
    )
    parser.add_argument(
        "--from", dest="start", help="a pretrained model to start from, instead of a new model of the sizes below"
    )
    sizes = parser.add_argument_group("sizes of a new model")
    sizes.add_argument("--layers", type=count, default=4, help="blocks")
    sizes.add_argument("--width", type=count, default=160, help="size of an embedding")
    sizes.add_argument(
        "--heads",
        type=count,
        help=f"attention heads; the width must be divisible by them (default: {HEADS}). With --from: as in "
        "numpygpt.train",
    )
    sizes.add_argument(
        "--positions",
        type=command.number(Number(int, 2)),
        default=256,
        help="length of the longest text that the model can take, in tokens",
    )
    sizes.add_argument(
        "--vocabulary",
        default="2048",
        help="number of entries to learn from the text; or gpt2, or a folder, to take the tokenizer from",
    )
    fit = parser.add_argument_group("the training")
    fit.add_argument("--steps", type=number["steps"], default=3000, help="updates")
    fit.add_argument("--batch-size", type=number["batch_size"], default=8, help="windows per update")
    fit.add_argument(
        "--context", type=number["context"], help="tokens in a window (default: the model's positions, at most 256)"
    )
    fit.add_argument("--lr", type=number["lr"], default=2e-3, help="the peak learning rate, after warm-up")
    fit.add_argument(
        "--warmup",
        type=number["warmup"],
        default=100,
        help="steps of warm-up, before a cosine that falls towards a tenth",
    )
    fit.add_argument(
        "--weight-decay",
        type=number["weight_decay"],
        default=0.1,
        help="AdamW's decoupled weight decay, on the matrices",
    )
    fit.add_argument("--clip", type=number["clip"], default=1.0, help="largest norm of the gradient")
    fit.add_argument(
        "--held-out",
        type=command.number(Number(float, 0, 0.9, above=True)),
        default=0.02,
        help="share of the documents kept back to measure perplexity",
    )
    fit.add_argument(
        "--eval-every", type=count, default=200, help="steps between measurements of perplexity, and between saves"
    )
    fit.add_argument(
        "--exact",
        action="store_true",
        help="under mpiexec: give the same bits with any number of ranks, including 1. Each rank has one thread and "
        f"takes {PART:,} tokens of windows at a time, and the gradients are summed in a fixed order",
    )
    fit.add_argument("--half", action="store_true", help="store the finished weights in half precision")
    fit.add_argument(
        "--seed",
        type=number["seed"],
        default=123,
        help="seed of the initial weights, the held-out documents and the order of documents",
    )
    return parser.parse_args(argv)


def weighted_file(argument):
    """Return (Path, weight) of FILE or FILE:WEIGHT. If a file has the whole name FILE:WEIGHT, its weight is 1."""
    name, _, weight = argument.rpartition(":")
    try:
        float(weight)
    except ValueError:  # no colon, or a colon that is part of the name, as in C:\text
        return Path(argument), 1.0
    if not name or Path(argument).exists():
        return Path(argument), 1.0
    return Path(name), command.number(Number(float, 0, 1000, above=True))(weight)


@on_every_rank
def main(argv, ranks):
    keep_freed_memory()
    args = arguments(argv)
    if args.exact:
        blas.one_thread_for_exact()
    if args.out.exists() and not (args.out / RESUME).exists():
        raise InputError(f"{args.out} already exists and holds no interrupted run. Choose another --out or delete it")
    paths, weights = zip(*args.text)
    texts, held_out_texts = hold_out(read_documents(paths, args.lines, weights), args.held_out, args.seed)
    config, params, encoding = start(args, texts)
    documents, held_out = (
        [np.array(ids, np.int32) for ids in encoding.encode_ordinary_batch(part)] for part in (texts, held_out_texts)
    )
    context = args.context or min(config.n_positions, 256)
    if context > config.n_positions:
        raise InputError(f"--context {context} is too long: the model has {config.n_positions} positions")
    separator = encoding.eot_token
    held_out = windows(held_out, separator, context, None)
    if not len(held_out):
        raise InputError(
            f"the {len(held_out_texts)} held-out documents do not fill one window of {context} tokens. Raise --held-out"
        )
    run = Pretraining(
        params,
        config,
        documents,
        separator,
        steps=args.steps,
        batch_size=args.batch_size,
        context=context,
        lr=args.lr,
        warmup=args.warmup,
        weight_decay=args.weight_decay,
        clip=args.clip,
        seed=args.seed,
        ranks=ranks,
        exact=args.exact,
    )
    tokens = sum(map(len, documents))
    print(f"numpygpt {__version__} on NumPy {np.__version__}, {blas.describe()}")
    print(
        f"model    {config.n_layer} blocks, width {config.n_embd}, vocabulary {config.vocab_size:,}, "
        f"{sum(p.size for p in params.values()):,} parameters"
    )
    print(
        f"text     {len(documents):,} documents, {tokens:,} tokens; "
        f"held out: {len(held_out_texts):,} documents, {held_out.size:,} tokens"
    )
    print(
        f"training {args.steps:,} steps of {args.batch_size} x {context} tokens, "
        f"{args.steps / run.per_epoch:.1f} epochs",
        flush=True,
    )

    may_change = ("out", "half", "eval_every", "steps")  # these leave the batches the same; steps changes the schedule
    settings = {key: str(value) for key, value in vars(args).items() if key not in may_change}
    settings["heads"] = str(args.heads or HEADS)
    settings["text"] = fingerprint({"ids": np.concatenate(documents)})
    ranks.check_equal("the text", lambda: settings["text"])
    ranks.once(lambda: args.out.mkdir(parents=True, exist_ok=True))
    if (args.out / RESUME).exists():
        run.resume(args.out / RESUME, settings)
        print(f"resuming from step {run.done}")
    train(run, config, held_out, args, settings)
    if ranks.rank:
        return
    save_folder(args.out, config, params, encoding, np.float16 if args.half else np.float32)
    _, stored, _ = load_checkpoint(args.out)
    print(f"held-out perplexity of the stored model: {perplexity(stored, config, held_out, SingleProcess()):.3f}")
    (args.out / RESUME).unlink()
    print(f'saved in {args.out}. Now try: python -m numpygpt.generate --model {args.out} "a beginning"')


def start(args, texts):
    """Return the initial (Config, writable parameters, Encoding): those of --from, or new ones of the given sizes."""
    if args.start:
        config, params, encoding = load_checkpoint(args.start, args.heads)
        return config, {name: np.array(array) for name, array in params.items()}, encoding
    heads = args.heads or HEADS
    if args.width % heads:
        raise InputError(f"--width {args.width} is not divisible by --heads {heads}. Change one of them")
    encoding = (
        learn_bpe(texts, int(args.vocabulary)) if args.vocabulary.isdecimal() else load_tokenizer(args.vocabulary)
    )
    config = Config(encoding.n_vocab, args.positions, args.width, args.layers, heads)
    return config, random_parameters(config, args.seed), encoding


def hold_out(documents, share, seed):
    """Return (training documents, held-out documents). No copy of a held-out document is left to train on."""
    distinct = sorted(set(documents))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[: max(1, round(share * len(distinct)))]
    held_out = {distinct[i] for i in chosen}
    rest = [text for text in documents if text not in held_out]
    if not rest:
        raise InputError("no document is left to train on. Give more documents (or --lines), or lower --held-out")
    return rest, sorted(held_out)


def train(run, config, held_out, args, settings):
    """Train to the last step. Print the perplexity and save every --eval-every steps.

    Ctrl-C saves the run after the current step.
    """
    live, started, began = command.Progress("pretraining", "steps"), time.monotonic(), run.done
    ranks = run.ranks
    with ctrl_c_waits() as interrupted:
        stop = False
        while run.done < run.steps and not stop:
            loss = run.step()
            stop = any(ranks.gather(interrupted()))
            live(run.done - began, run.steps - began, f" | loss {loss:.3f}")
            if run.done % args.eval_every == 0 or run.done == run.steps:
                live.clear()
                tokens = run.batch_size * run.context
                speed = (run.done - began) * tokens / (time.monotonic() - started)
                since = run.history[-1]["step"] if run.history else 0
                row = {
                    "step": run.done,
                    "tokens": run.done * tokens,
                    "train_loss": round(float(np.mean(run.losses[since:])), 4),
                    "held_out_perplexity": round(perplexity(run.params, config, held_out, ranks), 3),
                }
                print(
                    f"step {run.done:6d}: train loss {row['train_loss']:.3f}, held-out perplexity "
                    f"{row['held_out_perplexity']:.2f} | {speed:,.0f} tokens/s",
                    flush=True,
                )
                run.history.append(row)
                ranks.once(run.save, args.out / RESUME, settings)
                ranks.once(write_curve, args.out, run.history)
        if stop:
            live.clear()
            ranks.once(run.save, args.out / RESUME, settings)
            print(f"interrupted after step {run.done}. Give the same command again to resume")
            raise KeyboardInterrupt


def write_curve(folder, history):
    """Write a run's rows so far to curve.csv, and plot them in curve.png where matplotlib is installed."""
    with replacing(folder / "curve.csv") as file:
        lines = [",".join(history[0]), *(",".join(map(str, row.values())) for row in history)]
        file.write(("\n".join(lines) + "\n").encode())
    save_plot(folder / "curve.png", plot_perplexity, history)


if __name__ == "__main__":
    command.run(main)
