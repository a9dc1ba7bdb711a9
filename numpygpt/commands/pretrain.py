"""Train a GPT-2 of any size on text, and store it as a Hugging Face folder."""

import time

import numpy as np

from .. import __version__
from ..checkpoints.huggingface import save_folder
from ..checkpoints.load import load_checkpoint
from ..model.config import Config
from ..model.parameters import fingerprint, random_parameters
from ..system import blas, command
from ..system.errors import InputError, counted
from ..system.files import write_file
from ..system.interrupt import ctrl_c_waits
from ..system.memory import keep_freed_memory
from ..system.settings import HEADS
from ..system.single_process import SingleProcess
from ..text.bpe import learn_bpe
from ..text.documents import read_documents
from ..text.tokenizer import load_tokenizer
from ..training.plots import plot_perplexity, save_plot
from ..training.pretraining import Pretraining, perplexity, windows

RESUME = "resume.safetensors"


def run(args, ranks):
    keep_freed_memory()
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
            f"{counted(len(held_out_texts), 'held-out document')} cannot fill one window of {context} tokens. "
            "Raise --held-out"
        )
    names = ("steps", "batch_size", "lr", "warmup", "weight_decay", "clip", "seed", "exact")
    how = {name: getattr(args, name) for name in names}
    run = Pretraining(params, config, documents, separator, context=context, ranks=ranks, **how)
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
    lines = [",".join(history[0]), *(",".join(map(str, row.values())) for row in history)]
    write_file(folder / "curve.csv", "\n".join([*lines, ""]))
    save_plot(folder / "curve.png", plot_perplexity, history)
