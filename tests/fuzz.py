"""python -m tests.fuzz: damage files at random, byte by byte, and check how numpygpt's readers handle them."""

import codecs
import faulthandler
import gzip
import io
import json
import os
import pickle
import random
import signal
import sys
import time
import tracemalloc
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import tiktoken

from numpygpt.checkpoints.book import to_book
from numpygpt.checkpoints.classifier import load_classifier
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_weights
from numpygpt.checkpoints.safetensors import write_safetensors
from numpygpt.model.config import Config, config_json
from numpygpt.model.parameters import random_parameters
from numpygpt.system import command
from numpygpt.system.errors import InputError, Note
from numpygpt.system.settings import Number
from numpygpt.text.messages import read_messages
from numpygpt.text.tokenizer import load_tokenizer, vocabulary_of
from numpygpt.text.tokenizer_json import tokenizer_json
from numpygpt.text.vocabulary import Added
from tests.checkpoints import writers
from tests.tiny import save_tokenizer

CONFIG = Config(vocab_size=5, n_positions=3, n_embd=4, n_layer=1, n_head=2)
PARAMS = random_parameters(CONFIG, seed=0)
SECONDS = 10  # after these, a reader counts as hanging
MEMORY = 4 << 20  # bytes a reader may use: the files have a few kB, a checksum's buffers 0.6 MB
# What Python reports to its audit hooks when code is run, a process started or a file touched that was only to be read
FORBIDDEN = {
    "exec",
    "import",
    "pickle.find_class",
    "subprocess.Popen",
    "ctypes.dlopen",
    "socket.connect",
    "shutil.rmtree",
}
FORBIDDEN |= {
    f"os.{call}"
    for call in ("system", "exec", "posix_spawn", "spawn", "fork", "startfile", "remove", "rename", "chmod")
}

OUTCOMES = ("refused", "right", "other numbers", "failed")


class Failure(Exception):
    """A forbidden outcome of a reader."""


@dataclass
class Reader:
    """A file in its own folder, and its reader."""

    name: str
    folder: Path
    file: str  # in the folder
    read: Callable  # folder -> result to compare
    checked: bool  # whether checksums cover every number, so that none may change
    part: bytes  # the part to damage
    whole: Callable  # damaged part -> file with valid checksums

    def __post_init__(self):
        self.path = self.folder / self.file
        self.path.write_bytes(self.whole(self.part))
        self.right = self.read(self.folder)

    def outcome(self, rng):
        """Read a damaged file. Return the outcome, the bytes of memory and the seconds used. Raises Failure."""
        content = self.whole(damaged(rng, self.part))
        self.path.unlink(missing_ok=True)  # a mapping of the last file may still be open
        self.path.write_bytes(content)
        watched.clear()
        tracemalloc.reset_peak()
        before, started = tracemalloc.get_traced_memory()[0], time.perf_counter()
        signal.alarm(SECONDS)
        watching.append(self)
        try:
            outcome = "right" if self.read(self.folder) == self.right else "other numbers"
        except (InputError, OSError) as error:
            outcome = "refused"
            if "\n" in str(error) or len(str(error)) > 1000:
                raise Failure(f"an error of {len(str(error))} characters: {str(error)[:200]!r}") from None
        except Exception as error:
            raise Failure(f"{type(error).__name__}: {error}") from error
        finally:
            watching.clear()
            signal.alarm(0)
        taken, seconds = tracemalloc.get_traced_memory()[1] - before, time.perf_counter() - started
        if watched:
            raise Failure(f"it reached for {watched}")
        if taken > MEMORY:
            raise Failure(f"it took {taken:,} bytes of memory for a file of {len(content):,}")
        if outcome == "other numbers" and self.checked:
            raise Failure("it gave other numbers in spite of a checksum")
        return outcome, taken, seconds


watching, watched = [], []  # the reader at work; the accesses it made


def watch(event, _):
    if watching and event in FORBIDDEN:
        watched.append(event)


def hang(signum, frame):
    raise Failure(f"it did not end within {SECONDS} seconds")


def damaged(rng, content):
    """Return the bytes with one to three changes: bits, bytes and numbers flipped,
    pieces cut, doubled or moved, or the end lost."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place, other = rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)
        length = min(rng.choice((1, 1, 2, 4, 8, 40, 300)), len(content) - place)
        match rng.randrange(8):
            case 0 | 1 if length:
                content[place] ^= 1 << rng.randrange(8)
            case 2:
                content[place : place + length] = rng.randbytes(length)
            case 3:
                content[place : place + length] = bytes([rng.choice((0, 0x7F, 0x80, 0xFF))]) * length
            case 4:
                del content[place : place + length]
            case 5:
                content[place:place] = content[other : other + length]
            case 6:
                content[place : place + length] = content[other : other + length]
            case 7:
                del content[max(place, rng.randrange(len(content) + 1)) :]
    return bytes(content)


def readers(root):
    """Return all readers, each with its folder in `root`."""

    def reader(name, file, write, read=weights, checked=False, part=None):
        folder = root / str(len(found))
        folder.mkdir()
        if read is weights:
            (folder / "config.json").write_text(config_json(CONFIG))
        write(folder)
        part, whole = part or ((folder / file).read_bytes(), bytes)
        found.append(Reader(name, folder, file, read, checked, part, whole))

    found, names = [], writers.openai_names(PARAMS)
    keys = {id(array): str(number) for number, array in enumerate(PARAMS.values())}
    data = {keys[id(array)]: array.tobytes() for array in PARAMS.values()}
    pickled = writers.state_dict_pickle(PARAMS, keys)
    hostile = pickle.dumps(Hostile(), protocol=2)
    block = writers.block(writers.index_entries(names))
    safe, bin, book = "model.safetensors", "pytorch_model.bin", to_book(PARAMS, CONFIG)
    reader("safetensors", safe, lambda folder: write_safetensors(folder / safe, PARAMS))
    content = found[0].part
    end = 8 + int.from_bytes(content[:8], "little")
    reader(
        "safetensors, the header",
        safe,
        lambda folder: None,
        part=(content[:end], lambda header: header + content[end:]),
    )
    reader("safetensors, the book's names", safe, lambda folder: write_safetensors(folder / safe, book))
    reader("safetensors, the index of shards", f"{safe}.index.json", write_shards)
    reader("config.json", "config.json", lambda folder: write_safetensors(folder / safe, PARAMS))
    reader("OpenAI's index", "m.index", lambda folder: writers.write_tensorflow(folder / "m", names), checked=True)
    reader(
        "OpenAI's data",
        "m.data-00000-of-00001",
        lambda folder: writers.write_tensorflow(folder / "m", names),
        checked=True,
    )
    reader(
        "OpenAI's index, sums put right",
        "m.index",
        lambda folder: writers.write_tensorflow(folder / "m", names),
        part=(block, lambda block: writers.table_of_blocks([(b"model/z", block)])),
    )
    reader("OpenAI's hparams.json", "hparams.json", write_openai)
    reader("PyTorch's zip", bin, lambda folder: writers.write_torch(folder / bin, PARAMS))
    reader(
        "PyTorch's zip, sums put right",
        bin,
        lambda folder: None,
        part=(pickled, lambda pickle: writers.torch_zip(pickle, data)),
    )
    reader("PyTorch's zip, the book's names", bin, lambda folder: writers.write_torch(folder / bin, book))
    reader("PyTorch's older format", bin, lambda folder: writers.write_torch(folder / bin, PARAMS, legacy=True))
    reader(
        "PyTorch's zip, hostile",
        bin,
        lambda folder: None,
        refused,
        part=(hostile, lambda pickle: writers.torch_zip(pickle, data)),
    )
    for file in ("vocab.json", "merges.txt"):
        reader(file, file, lambda folder: save_tokenizer(small_tokenizer(), folder), tokenizer)
    frame = pd.DataFrame({"Label": ["ham", "spam"] * 2, "Text": ["one, two", 'he said "no"', "three", "four é"]})
    for kind, content in {
        "CSV": frame.to_csv(index=False).encode(),
        "TSV": frame.to_csv(index=False, sep="\t").encode(),
        "UTF-16": frame.to_csv(index=False).encode("utf-16"),
        "JSON Lines": frame.to_json(orient="records", lines=True).encode(),
        "JSON": frame.to_json(orient="records").encode(),
        "gzip": gzip.compress(frame.to_csv(index=False).encode()),
        "zip": zipped("a.csv", frame.to_csv(index=False)),
    }.items():
        reader(
            f"messages, {kind}",
            "messages",
            lambda folder, content=content: (folder / "messages").write_bytes(content),
            messages,
        )
    reader("tokenizer.json", "tokenizer.json", write_tokenizer_json, tokenizer)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        reader(f"PEFT's {file}", file, write_adapter)
    reader("an exported classifier's config.json", "config.json", write_classifier, classifier)
    return found


def zipped(name, text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return file.getvalue()


def weights(folder):
    config, params = load_weights(folder)
    return config, {name: array.tobytes() for name, array in params.items()}


def refused(folder):
    """Return None if the weights are refused, as the undamaged hostile file's must be."""
    try:
        return weights(folder)
    except InputError:
        return None


def tokenizer(folder):
    encoding = load_tokenizer(folder)
    return encoding._mergeable_ranks, encoding._special_tokens


def classifier(folder):
    found = load_classifier(folder)
    params = {name: array.tobytes() for name, array in found.params.items()}
    return found.config, params, found.labels, found.position, found.causal, found.pad_to


def messages(folder):
    return read_messages(folder / "messages").to_dict("list")


def write_shards(folder):
    write_safetensors(folder / "a.safetensors", PARAMS)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(PARAMS, "a.safetensors")})
    )


def write_tokenizer_json(folder):
    added = {"<|endoftext|>": Added(259), "<user>": Added(260, special=False)}
    encoding = small_tokenizer()
    vocab, merges, _ = vocabulary_of(encoding)
    (folder / "tokenizer.json").write_text(tokenizer_json(vocab, merges, added, ((), (259,))), encoding="utf-8")


def write_adapter(folder):
    save_folder(folder / "base", CONFIG, PARAMS)
    description = {"peft_type": "LORA", "base_model_name_or_path": "base", "r": 1, "lora_alpha": 2}
    (folder / "adapter_config.json").write_text(json.dumps(description))
    prefix, ones = "base_model.model.transformer.h.0.mlp.c_fc.lora", np.ones
    tensors = {f"{prefix}_A.weight": ones((1, 4), np.float32), f"{prefix}_B.weight": ones((16, 1), np.float32)}
    write_safetensors(folder / "adapter_model.safetensors", tensors)


def write_classifier(folder):
    sizes = Config(vocab_size=260, n_positions=3, n_embd=4, n_layer=1, n_head=2)
    head = {"score.weight": np.ones((2, 4), np.float32), "score.bias": np.ones(2, np.float32)}
    save_folder(folder, sizes, random_parameters(sizes, seed=0) | head, small_tokenizer())
    entries = {"model_type": "numpygpt", "id2label": {"0": "ham", "1": "spam"}}
    entries |= {"position": "mean", "causal": True, "padding": "end"}
    (folder / "config.json").write_text(json.dumps(json.loads(config_json(sizes)) | entries))


def write_openai(folder):
    writers.write_openai(folder, CONFIG, PARAMS)
    (folder / "config.json").unlink()


def small_tokenizer():
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257, b" a": 258}
    return tiktoken.Encoding(
        "small", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": len(ranks)}
    )


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile",)


def main(argv=None):
    parser = command.parser(
        "fuzz",
        "Damage small files of every kind that numpygpt reads at random, and read them. A reader may refuse the file\n"
        "in one line, or give what the undamaged file holds, or, where no checksum covers them, other numbers.\n"
        "Anything else is a failure, and the exit status 1: another exception, a hang, much memory, a process\n"
        "started, code run.",
        ["python -m tests.fuzz --count 1000", "python -m tests.fuzz --seed 7"],
    )
    parser.prog = "python -m tests.fuzz"
    parser.add_argument("--count", type=command.number(Number(int, 1)), default=100_000, help="damaged files in all")
    parser.add_argument("--seed", type=command.number(Number(int, 0)), default=0, help="of the damage")
    args = parser.parse_args(argv)
    faulthandler.enable()  # also reports the place of an interpreter crash
    signal.signal(signal.SIGALRM, hang)
    for codec in ("utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le", "raw-unicode-escape"):
        codecs.lookup(codec)  # json and pickletools know these, and Python imports each at its first use
    codecs.lookup("windows-1252")
    warnings.simplefilter("ignore", Note)
    sys.addaudithook(watch)
    with TemporaryDirectory(prefix="fuzz-") as root:
        subjects = readers(Path(root))
        tracemalloc.start()
        print(
            f"{'reader':<34}"
            + "".join(f"{head:>14}" for head in ("damaged files", *OUTCOMES, "slowest", "most memory"))
        )
        failures = []
        for number, reader in enumerate(subjects):
            failures += fuzz(reader, args.seed, len(range(number, args.count, len(subjects))))
    print(*failures[:20], f"{args.count:,} damaged files, {len(failures)} failures", sep="\n")
    raise SystemExit(1 if failures else 0)


def fuzz(reader, seed, count):
    """Read `count` damaged files, print the reader's line of the table, and return one line per failure."""
    outcomes, most, slowest, failures = Counter(), 0, 0.0, []
    for number in range(count):
        try:
            outcome, taken, seconds = reader.outcome(random.Random(f"{seed} {reader.name} {number}"))
            most, slowest = max(most, taken), max(slowest, seconds)
        except Failure as failure:
            outcome = "failed"
            failures.append(f"{reader.name}, damaged file {number} of seed {seed}: {failure}")
        outcomes[outcome] += 1
    cells = [
        f"{count:,}",
        *(f"{outcomes[outcome]:,}" for outcome in OUTCOMES),
        f"{slowest:.2f} s",
        f"{most / 1e6:.2f} MB",
    ]
    print(f"{reader.name:<34}" + "".join(f"{cell:>14}" for cell in cells), flush=True)
    return failures


if __name__ == "__main__":
    command.run(main)
