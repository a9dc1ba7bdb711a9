"""The commands as a user meets them: whole runs with tiny models, and every bad input ending in one line."""

import contextlib
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import numpygpt
from numpygpt import __main__ as listing
from numpygpt import classify, generate, pretrain, train
from numpygpt.checkpoints import gpt
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_checkpoint
from numpygpt.checkpoints.safetensors import open_safetensors
from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes
from numpygpt.system import command
from numpygpt.system.errors import InputError
from numpygpt.text.bpe import learn_bpe
from numpygpt.training.plots import plot, save_plot
from numpygpt.training.run_folder import load_run, new_folder
from numpygpt.training.schedule import learning_rate

PACKAGE = Path(numpygpt.__file__).parent
WORDS = {
    "ham": "home soon late train dinner love see you tonight bring milk".split(),
    "order": "parcel invoice delivery number shipped track address Tuesday box ref".split(),
    "spam": "win prize cash free call now claim urgent text stop £900".split(),
}
CONFIG = Config(vocab_size=300, n_positions=24, n_embd=8, n_layer=2, n_head=2)


def written(label, count, seed=0):
    """`count` different messages of this label's words."""
    rng = np.random.default_rng([seed, len(label)])
    return [" ".join(rng.choice(WORDS[label], rng.integers(4, 9))) for _ in range(count)]


def save_model(folder, config=CONFIG):
    rng = np.random.default_rng(1)
    params = {name: 0.3 * rng.standard_normal(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    params["wte.weight"] *= 4  # so that words matter more than places
    encoding = learn_bpe([text for label in WORDS for text in written(label, 30)], 300)
    save_folder(folder, config, params, encoding)


def save_messages(path, labels=("ham", "spam"), count=30):
    rows = [(label, text) for label in labels for text in written(label, count)]
    pd.DataFrame(rows, columns=["Label", "Text"]).sample(frac=1, random_state=0).to_csv(path, index=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder with a model, `model`, message files `two.csv` and `three.csv`,
    a finished run, `run`, and a text, `text.txt`."""
    folder = tmp_path_factory.mktemp("made")
    save_model(folder / "model")
    save_messages(folder / "two.csv")
    save_messages(folder / "three.csv", WORDS)
    lines = [text for label in WORDS for text in written(label, 30, seed=1)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    train.main(
        [
            "--model",
            f"{folder}/model",
            "--data",
            f"{folder}/two.csv",
            "--out",
            f"{folder}/run",
            "--epochs",
            "1",
            "--lr",
            "0.01",
        ]
    )
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of `made`, to be spoiled, as the current folder."""
    for path in made.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(made)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(made)).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "save_plot", lambda *_: False)  # matplotlib would take most of the time
    return tmp_path


def refusal(capsys, main, *arguments):
    """The one line with which a command refuses its arguments."""
    capsys.readouterr()
    try:
        main([str(argument) for argument in arguments])
    except (InputError, OSError) as error:  # which command.run prints, on one line: see the tests of run
        return str(error)
    except SystemExit as exit:
        shown = capsys.readouterr()
        assert exit.code == 2 and shown.out == "" and re.fullmatch("error: .*\n", shown.err)
        return shown.err
    pytest.fail("it was not refused")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def output(capsys, main, *arguments):
    capsys.readouterr()
    main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def python(*arguments, **settings):
    settings = (
        dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PACKAGE.parent) | settings
    )
    return subprocess.Popen([sys.executable, *map(str, arguments)], **settings)


# The list of commands, and their help


def test_every_command_is_listed_with_what_it_does(capsys):
    listing.main([])
    shown = capsys.readouterr().out
    listing.main(["--help"])
    assert capsys.readouterr().out == shown
    named = {path.stem for path in PACKAGE.glob("*.py") if "command.run(main)" in path.read_text("utf-8")}
    assert set(listing.commands()) == named - {"__main__"}
    for name in listing.commands():
        assert re.search(rf"python -m numpygpt\.{name} +\w", shown), name


def test_a_command_is_also_called_by_its_name(made, capsys):
    asked = [str(made / "run"), "win a prize"]
    answer = output(capsys, classify.main, *asked)
    assert output(capsys, listing.main, "classify", *asked) == answer
    process = python("-m", "numpygpt", "classify", *asked)
    assert process.communicate() == (answer.encode(), b"") and process.returncode == 0
    for called in (("numpygpt", "classify"), ("numpygpt.classify",)):
        process = python("-m", *called, "--none")
        error = b"error: the following arguments are required: run (see: python -m numpygpt.classify --help)\n"
        assert process.communicate() == (b"", error) and process.returncode == 2


def test_the_console_script_is_the_list_of_commands():
    config = ConfigParser()
    config.read(PACKAGE.parent / "setup.cfg")
    name, target = config["options.entry_points"]["console_scripts"].strip().split(" = ")
    module, function = target.split(":")
    script = f"import sys, {module}; sys.argv = [{name!r}, 'generat']; sys.exit({module}.{function}())"
    process = python("-c", script)
    assert process.communicate() == (b"", b"error: 'generat' is no command of numpygpt: did you mean generate?\n")
    assert (name, process.returncode) == ("numpygpt", 2)
    with pytest.raises(InputError, match="'zzz' is no command of numpygpt: there are train, classify, generate, "):
        listing.main(["zzz"])


@pytest.mark.parametrize("name", listing.commands())
def test_help_explains_every_option_and_shows_its_default(capsys, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    with pytest.raises(SystemExit) as exit:
        importlib.import_module(f"numpygpt.{name}").main(["--help"])
    shown = capsys.readouterr().out
    assert exit.value.code == 0
    assert not re.search(r"%\(|%[sdr%]|\(default: (None|True|False|==SUPPRESS==)?\)", shown)
    described = re.split(r"^  (?=\S)", shown.split("options:")[1].split("examples:")[0], flags=re.MULTILINE)
    assert all(re.search(r"\S(  |\n {10}) *\S", option) for option in described[1:]), (
        "an option without a word about it"
    )
    assert f"  python -m numpygpt.{name}" in shown.split("examples:")[1]


def test_a_default_of_one_is_shown_too(capsys):
    with pytest.raises(SystemExit):
        generate.main(["--help"])
    assert "(default: 1.0)" in capsys.readouterr().out


# What the package does to the process that it is imported in


SETTING = "import os; print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'))"


def test_importing_the_package_changes_and_loads_nothing(tmp_path):
    script = (
        "import os, sys; before = dict(os.environ); import numpygpt; "
        "print(before == dict(os.environ), 'numpy' in sys.modules, 'pandas' in sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    assert python("-c", script, env=clean).communicate() == (b"True False False\n", b"")
    (tmp_path / "other.py").write_text(script)
    clean["PYTHONPATH"] = str(PACKAGE.parent)
    assert python("-m", "other", cwd=tmp_path, env=clean).communicate() == (b"True False False\n", b"")


@pytest.mark.parametrize("called", ["-m numpygpt.generate", "-mnumpygpt.generate", "-m numpygpt generate", "console"])
def test_a_command_keeps_openblas_from_busy_waiting_before_numpy_is_loaded(tmp_path, called):
    (tmp_path / "numpy.py").write_text(SETTING)  # found instead of NumPy
    clean = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    clean["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])
    if called == "console":
        called = ["-c", "import sys; sys.argv[1:] = ['generate']; from numpygpt.__main__ import script; script()"]
    else:
        called = called.split()
    assert python(*called, env=clean).communicate()[0].split()[:1] == [b"18"]
    kept = clean | {"OPENBLAS_THREAD_TIMEOUT": "25"}
    assert python(*called, env=kept).communicate()[0].split()[:1] == [b"25"], "a user's own setting stays"


# command.run, which turns what ends a command into its exit status


@pytest.mark.parametrize(
    "body, status, error",
    [
        ("pass", 0, ""),
        ("raise InputError('two\\nlines')", 2, "error: two lines\n"),
        ("open('absent')", 2, "error: [Errno 2] No such file or directory: 'absent'\n"),
        ("raise MemoryError('1 TiB')", 2, "error: out of memory (1 TiB): try a smaller model or batch\n"),
        ("raise KeyboardInterrupt", 130, "\ninterrupted\n"),
        ("raise BrokenPipeError", 0, ""),
        ("sys.exit(1)", 1, ""),
        ("import warnings; warnings.warn('overflow', RuntimeWarning)", 0, ""),
        ("import warnings; warnings.warn('two\\nlines', Note)", 0, "note: two lines\n"),
        ("import warnings; warnings.warn_explicit('odd', UserWarning, 'file', 3)", 0, "file:3: UserWarning: odd\n"),
    ],
)
def test_what_ends_a_command_is_its_exit_status_and_one_line(body, status, error):
    script = (
        f"import sys\nfrom numpygpt.system import command\nfrom numpygpt.system.errors import InputError, Note\n"
        f"def main():\n    print('printed before')\n    {body}\ncommand.run(main)"
    )
    process = python("-c", script)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (status, b"printed before\n", error.encode())


def test_a_character_that_the_terminal_lacks_does_not_end_a_command():
    script = "from numpygpt.system import command\ncommand.run(lambda: print('\\xe9\\udcff'))"
    process = python("-c", script, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert process.communicate() == (b"\\xe9\\udcff\n", b"")


@pytest.mark.parametrize("body, status", [("print('shown')", None), ("raise InputError('bad')", 2)])
def test_a_command_runs_where_standard_output_is_no_file(body, status, capsys):
    out, filters = io.StringIO(), list(warnings.filters)
    with contextlib.redirect_stdout(out):
        try:
            command.run(lambda: exec(body, globals()))
            code = None
        except SystemExit as exit:
            code = exit.code
    assert code == status and (out.getvalue() == "shown\n") == (status is None)
    assert capsys.readouterr().err == ("" if status is None else "error: bad\n")
    assert warnings.filters == filters
    print("goes on", flush=True)
    assert capsys.readouterr().out == "goes on\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w") as full:
        process = python("-m", "numpygpt", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 2 and re.fullmatch(rb"error: .*No space left on device\n", err)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "nan", "9" * 5000])
def test_a_number_out_of_range_is_no_number(text):
    with pytest.raises(Exception, match="expected a whole number at least 1 and at most 9, got"):
        command.number(int, 1, 9)(text)


def test_numbers_at_the_bounds():
    assert command.number(int, 1, 9)("9") == 9 and command.number(float, 0)("0") == 0
    with pytest.raises(Exception, match="expected a number above 0, got '0'"):
        command.number(float, 0, above=True)("0")
    with pytest.raises(Exception, match="expected a number at least 0, got 'nan'"):
        command.number(float, 0)("nan")


@pytest.mark.parametrize(
    "arguments, values",
    [
        ("one", ("one", [])),
        ("one --", ("one", [])),
        ("one two three", ("one", ["two", "three"])),
        ("one -- hello --", ("one", ["hello", "--"])),
        ("one -- --", ("one", ["--"])),
        ("one two -- -- three", ("one", ["two", "--", "three"])),
        ("-- one -- --flag -x", ("one", ["--", "--flag", "-x"])),
    ],
)
def test_what_follows_two_dashes_is_a_value_also_two_dashes(arguments, values):
    parser = command.parser("name", "what it does", [])
    parser.add_argument("first", type=Path)
    parser.add_argument("rest", nargs="*", default=[])
    parser.add_argument("--flag", action="store_true")
    found = parser.parse_args(arguments.split())
    assert (str(found.first), found.rest) == values and not found.flag


def test_two_dashes_too_many_are_refused_as_they_were_given(capsys):
    parser = command.parser("name", "what it does", [])
    parser.add_argument("only")
    with pytest.raises(SystemExit):
        parser.parse_args(["--", "one", "--"])
    assert "unrecognized arguments: --" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_on_a_terminal_only_and_can_be_removed(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    progress = command.Progress("frozen blocks", "tokens")
    progress(50, 200, " | note")
    progress.clear()
    shown = capsys.readouterr().err
    assert bool(shown) == terminal
    if terminal:
        assert re.fullmatch(r"\r\x1b\[Kfrozen blocks  25% \| [\d,]+ tokens/s \| \d+ s left \| note\r\x1b\[K", shown)


# train and classify, from messages to labels


OPTIONS = [
    "",
    "--pad none",
    "--pad end --position mean --warmup 0.3 --schedule cosine --clip 0.5",
    "--recipe book",
    "--pad 6 --position mean",
    "--pad context --position first --no-causal",
    "--trainable head --accumulate 2",
    "--trainable all --weights random",
    "--trainable lora --rank 2 --alpha 4",
    "--trainable h.0.*,lora --pad none --position mean",
    "--trainable head,h.1.mlp.* --weights pytorch",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_classify_answers_as_was_measured_in_training(here, capsys, options):
    shown = output(
        capsys, train.main, "--model", "model", "--data", "three.csv", "--out", "new", "--lr", "0.02", *options.split()
    )
    lines = shown.splitlines()
    assert [line.split(":")[0] for line in lines[-3:]] == ["Training accuracy", "Validation accuracy", "Test accuracy"]
    test = pd.read_csv("new/test.csv", keep_default_na=False)
    answers = [line.split("\t") for line in output(capsys, classify.main, "new", *test["Text"]).splitlines()]
    assert [text for _, _, text in answers] == test["Text"].tolist()
    assert all(1 / 3 < float(probability) <= 1 for _, probability, _ in answers)
    right = [label == ["ham", "order", "spam"][number] for (label, _, _), number in zip(answers, test["Label"])]
    assert lines[-1] == f"Test accuracy: {np.mean(right):.2%}"


def test_the_books_recipe_is_the_books_whatever_the_default_is(monkeypatch):
    monkeypatch.setattr(train, "DEFAULT", {"pad": "none", "warmup": 0.5, "schedule": "cosine", "clip": 1.0})
    book = vars(train.arguments(["--recipe", "book"]))
    expected = {"pad": "longest", "position": "last", "warmup": 0, "schedule": "constant", "clip": np.inf}
    assert {name: book[name] for name in expected} == expected
    assert (book["epochs"], book["batch_size"], book["weight_decay"], book["accumulate"]) == (5, 8, 0.1, 1)
    default = vars(train.arguments([]))
    assert {name: default[name] for name in train.DEFAULT} == train.DEFAULT
    assert train.arguments(["--recipe", "book", "--pad", "7"]).pad == "7", "what is asked for goes before"


def test_the_first_position_of_a_causal_model_knows_the_first_token_alone(here, capsys):
    train.main("--model model --data two.csv --position first --epochs 1 --out new".split())
    answers = output(capsys, classify.main, "new", "win a prize", "win", "home win").splitlines()
    assert answers[0].split("\t")[:2] == answers[1].split("\t")[:2] != answers[2].split("\t")[:2]


def test_a_run_learns_and_leaves_what_its_folder_promises(here, capsys):
    before = contents(here / "model")
    options = "--trainable all --pad none --position mean --lr 0.02 --epochs 9 --eval-every 10 --out a/new"
    shown = output(capsys, train.main, "--model", "model", "--data", "three.csv", *options.split())
    assert "62 + 9 + 19 messages to train, validate and test; labels ham, order, spam" in shown
    assert all(float(share) > 80 for share in re.findall(r"accuracy: ([\d.]+)%$", shown, re.MULTILINE)[-3:])
    assert {"run.json", "model.safetensors", "history.csv", "train.csv", "validation.csv", "test.csv"} <= set(
        os.listdir("a/new")
    )
    history = pd.read_csv("a/new/history.csv")
    assert history["step"].tolist() == [
        step for epoch in range(9) for step in [*range(7 * epoch, 7 * epoch + 7), 7 * epoch + 6]
    ]
    evaluated = history.dropna(subset=["train_loss"])
    assert evaluated["step"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert re.findall(r"Step (\d+)\): Train loss ([\d.]+)", shown) == [
        (f"{step:06d}", f"{loss:.3f}") for step, loss in zip(evaluated["step"], evaluated["train_loss"])
    ]
    assert evaluated["train_loss"].iloc[-1] < evaluated["train_loss"].iloc[0]
    assert len(re.findall(r"^Training accuracy: .* \| Validation accuracy", shown, re.MULTILINE)) == 9
    assert contents(here / "model") == before


def test_a_run_leaves_its_curves_where_matplotlib_is_installed(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not save_plot(tmp_path / "curves.png", plot, None) and not (tmp_path / "curves.png").exists()
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert (made / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_gives_the_same_run_with_or_without_the_features_cache(here):
    arguments = ["--model", "model", "--data", "two.csv", "--epochs", "1"]
    train.main([*arguments, "--out", "plain"])
    for out in ("cached", "from_cache"):
        train.main([*arguments, "--features-cache", "cache", "--out", out])
    assert len(os.listdir("cache")) == 1
    for name in ("model.safetensors", "history.csv"):
        assert (
            (here / "plain" / name).read_bytes()
            == (here / "cached" / name).read_bytes()
            == (here / "from_cache" / name).read_bytes()
        )


def test_the_bundled_sample_is_found_by_name(here, capsys):
    shown = output(
        capsys,
        train.main,
        "--model",
        "model",
        "--data",
        "sample",
        "--trainable",
        "head",
        "--epochs",
        "1",
        "--pad",
        "none",
    )
    assert "labels ham, spam" in shown and "results  runs" in shown


def test_runs_are_numbered_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new_folder(None) == Path("runs/001")
    (tmp_path / "runs" / "002").write_text("")
    assert [new_folder(None).name for _ in range(2)] == ["003", "004"]
    with pytest.raises(InputError, match="runs/001 exists: choose another --out"):
        new_folder("runs/001")


def test_messages_come_from_standard_input_too_a_line_each(made, capsys):
    texts = [f"win {n} £ prize" for n in range(2 * classify.BATCH + 1)]
    process = python("-m", "numpygpt.classify", made / "run", stdin=subprocess.PIPE)
    out, err = process.communicate("\r\n".join(texts).encode())
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == output(capsys, classify.main, made / "run", *texts)
    assert [line.split("\t")[2] for line in out.decode().splitlines()] == texts


def test_a_message_is_one_line_whatever_is_in_it(made, capsys):
    assert output(capsys, classify.main, made / "run", "a\tb\nc\r\n  d\u2028", "-5").count("\n") == 2


@pytest.mark.parametrize(
    "content, error",
    [(b"good\n\xff\n", "line 2: not UTF-8"), (b"good\n \n", "line 2: there is no text"), (b"", "is empty")],
)
def test_bad_standard_input_is_one_line_and_status_2(made, content, error):
    process = python("-m", "numpygpt.classify", made / "run", stdin=subprocess.PIPE)
    _, err = process.communicate(content)
    assert process.returncode == 2
    assert re.fullmatch(f"error: standard input.* {error}.*\n", err.decode())


def test_a_reader_that_has_seen_enough_is_no_error(made, tmp_path):
    (tmp_path / "messages").write_text("win a prize\n" * 20_000)
    with open(tmp_path / "messages") as file:
        process = python("-m", "numpygpt.classify", made / "run", stdin=file)
        assert process.stdout.readline().endswith(b"win a prize\n")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_ctrl_c_keeps_the_history_and_leaves_no_run_that_seems_finished(made, tmp_path, capsys):
    history = tmp_path / "run" / "history.csv"
    arguments = ["--model", made / "model", "--data", made / "two.csv", "--out", tmp_path / "run", "--epochs", 10**6]
    process = python("-m", "numpygpt.train", *arguments)
    while not (history.exists() and history.read_bytes().count(b"\n") > 20):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"\ninterrupted\n")
    assert pd.read_csv(history)["loss"].iloc[:20].notna().sum() >= 16
    assert "not a finished run" in refusal(capsys, classify.main, tmp_path / "run", "text")


# Bad input of train: refused before the run folder is made


def spoil(path, change):
    path = Path(path)
    path.write_bytes(change(path.read_bytes()))


def set_in(path, **entries):
    spoil(path, lambda content: json.dumps(json.loads(content) | entries).encode())


REFUSED_BY_TRAIN = {
    "a missing model": (lambda: None, "--model absent", "absent: no such folder or file"),
    "a model without weights": (lambda: os.remove("model/model.safetensors"), "", "model: "),
    "a model without a tokenizer": (lambda: os.remove("model/merges.txt"), "", "model: no tokenizer in it"),
    "truncated weights": (
        lambda: spoil("model/model.safetensors", lambda b: b[:-1]),
        "",
        "model.safetensors: .*truncated",
    ),
    "a lying header": (
        lambda: spoil("model/model.safetensors", lambda b: b"\xff" * 8 + b[8:]),
        "",
        "model.safetensors: truncated, or not",
    ),
    "a config that does not fit": (lambda: set_in("model/config.json", n_embd=12), "", "model.safetensors: "),
    "a config with fewer blocks": (
        lambda: set_in("model/config.json", n_layer=1),
        "",
        "model.safetensors: n_layer is 1 in the configuration, but 2",
    ),
    "a config of another model": (
        lambda: set_in("model/config.json", activation_function="relu"),
        "",
        "config.json: activation_function",
    ),
    "missing messages": (lambda: None, "--data absent.csv", "absent.csv: cannot read the messages"),
    "a folder of messages": (lambda: None, "--data model", "model: cannot read the messages"),
    "an empty file": (lambda: spoil("two.csv", lambda b: b""), "", "two.csv: the file is empty"),
    "a header alone": (lambda: spoil("two.csv", lambda b: b"Label,Text\n"), "", "two.csv: there are no messages"),
    "one class": (
        lambda: spoil("two.csv", lambda b: b"Label,Text\nham,a\nham,b\n"),
        "",
        "two.csv: every message has the label 'ham'",
    ),
    "not UTF-8": (lambda: spoil("two.csv", lambda b: b + b"ham,\xe9\n"), "", "two.csv, line 62: not UTF-8"),
    "a message without text": (
        lambda: spoil("two.csv", lambda b: b + b"ham, \n"),
        "",
        "two.csv, line 62: the message has no text",
    ),
    "a message without label": (
        lambda: spoil("two.csv", lambda b: b + b",text\n"),
        "",
        "two.csv, line 62: the label is missing",
    ),
    "too few messages": (
        lambda: spoil("two.csv", lambda b: b"Label,Text\nham,a\nspam,b\n"),
        "",
        "2 messages make sets of",
    ),
    "an unknown text column": (lambda: None, "--text-column body", "two.csv: no columns are called 'body'"),
    "an unknown label column": (lambda: None, "--label-column kind", "two.csv: no columns are called 'kind'"),
    "a pattern that fits nothing": (lambda: None, "--trainable h.2.*", "--trainable: 'h.2.*' is neither"),
    "nothing trainable": (lambda: None, "--trainable=", "--trainable: '' is neither"),
    "padding of a nonsense length": (lambda: None, "--pad short", "cannot pad to 'short'"),
    "a schedule of a nonsense name": (lambda: None, "--schedule up", "--schedule: invalid choice: 'up'"),
    "a warm-up longer than the training": (lambda: None, "--warmup 1.1", "--warmup: expected a number at least 0"),
    "a clip of nothing": (lambda: None, "--clip 0", "--clip: expected a number above 0"),
    "padding to nothing": (lambda: None, "--pad 0", "cannot pad to '0'"),
    "padding beyond the positions": (lambda: None, "--pad 25", "cannot pad to '25': .* 1 to 24"),
    "a batch too large": (lambda: None, "--batch-size 43", "42 training messages do not fill one batch of 43"),
    "no messages to a batch": (lambda: None, "--batch-size 0", "--batch-size: expected a whole number at least 1"),
    "a negative number": (lambda: None, "--epochs -1", "--epochs: expected a whole number at least 1, got '-1'"),
    "a rate that is no number": (lambda: None, "--lr nan", "--lr: expected a number above 0"),
    "a rank of zero": (lambda: None, "--trainable lora --rank 0", "--rank: expected a whole number"),
    "a seed too large": (lambda: None, f"--seed {2**63}", "--seed: expected a whole number"),
    "an unknown position": (lambda: None, "--position middle", "--position: invalid choice"),
    "an unknown option": (lambda: None, "--speed 2", "unrecognized arguments: --speed 2"),
}


@pytest.mark.parametrize("what", REFUSED_BY_TRAIN)
def test_train_refuses_in_one_line_and_leaves_no_run_folder(here, capsys, what):
    damage, options, expected = REFUSED_BY_TRAIN[what]
    damage()
    before = contents(here)
    error = refusal(capsys, train.main, "--model", "model", "--data", "two.csv", *options.split())
    assert re.search(expected, error), error
    assert contents(here) == before and not Path("runs").exists()


def test_train_does_not_touch_an_existing_folder(here, capsys):
    before = contents(here)
    assert "run exists: choose another --out" in refusal(
        capsys, train.main, "--model", "model", "--data", "two.csv", "--out", "run"
    )
    assert "Not a directory" in refusal(
        capsys, train.main, "--model", "model", "--data", "two.csv", "--out", "two.csv/run"
    )
    assert contents(here) == before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_no_number_is_refused_and_the_history_kept(here, capsys):
    error = refusal(
        capsys, train.main, "--model", "model", "--data", "two.csv", "--lr", "1e3", "--trainable", "all", "--out", "new"
    )
    assert re.search(r"the loss became (nan|inf) at step \d+: lower the learning rate \(now 1000\)", error)
    assert Path("new/history.csv").exists() and not Path("new/run.json").exists()


# Bad input of classify: the run folder is whole and its model the one it was trained from, or there is no answer


def change_weights():
    config, params, encoding = load_checkpoint("model")
    params = {name: array.copy() for name, array in params.items()}  # which lets go of the file
    params["h.0.ln_1.bias"] += np.float32(1e-6)
    save_folder("model", config, params, encoding)


REFUSED_BY_CLASSIFY = {
    "no folder": (lambda: None, "absent", "absent: not a finished run"),
    "a file": (lambda: None, "two.csv", "two.csv: not a finished run"),
    "another folder": (lambda: None, "model", "model: not a finished run"),
    "an unfinished run": (lambda: os.remove("run/run.json"), "run", "run: not a finished run"),
    "no trained weights": (lambda: os.remove("run/model.safetensors"), "run", "No such file.*run/model.safetensors"),
    "truncated weights": (
        lambda: spoil("run/model.safetensors", lambda b: b[:-4]),
        "run",
        "run/model.safetensors: .*truncated",
    ),
    "a flipped bit": (
        lambda: spoil("run/model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
        "run",
        "run: .*not what the training wrote",
    ),
    "another model's weights": (
        lambda: os.replace("model/model.safetensors", "run/model.safetensors"),
        "run",
        "not what the training wrote",
    ),
    "a truncated run.json": (lambda: spoil("run/run.json", lambda b: b[:99]), "run", "run.json: damaged .*train again"),
    "an empty run.json": (lambda: spoil("run/run.json", lambda b: b""), "run", "run.json: damaged"),
    "no JSON object": (lambda: spoil("run/run.json", lambda b: b"[1]"), "run", "run.json: damaged"),
    "JSON too deep": (lambda: spoil("run/run.json", lambda b: b"[" * 10**5), "run", "run.json: damaged"),
    "bytes that are no text": (lambda: spoil("run/run.json", lambda b: b"\xff\xfe" + b), "run", "run.json: damaged"),
    "the base model gone": (
        lambda: os.rename("model", "moved"),
        "run",
        'run needs the model .*no such folder.* correct "model" in run/run.json',
    ),
    "the base model damaged": (
        lambda: os.remove("model/vocab.json"),
        "run",
        "run needs the model that it was trained from. .*model: ",
    ),
    "the base weights changed": (change_weights, "run", "run: the weights of .*model are not those"),
    "the base heads changed": (
        lambda: set_in("model/config.json", n_head=4),
        "run",
        "run: the weights of .*model are not those",
    ),
}


@pytest.fixture
def here_with_run(here):
    """`here`, where the run's model is the copy's."""
    set_in("run/run.json", model=str(here / "model"))
    return here


@pytest.mark.parametrize("what", REFUSED_BY_CLASSIFY)
def test_classify_refuses_a_run_that_is_not_what_was_measured(here_with_run, capsys, what):
    damage, folder, expected = REFUSED_BY_CLASSIFY[what]
    damage()
    error = refusal(capsys, classify.main, folder, "text")
    assert re.search(expected, error), error


VALUES = [None, True, 0, -1, 2.5, "x", "first", [], ["a", "b", "c"], {}, 10**400]


@pytest.mark.parametrize(
    "key",
    [
        "model",
        "weights",
        "seed",
        "labels",
        "position",
        "causal",
        "padded_length",
        "lora_scale",
        "config",
        "frozen_sha256",
        "sha256",
    ],
)
def test_no_value_in_run_json_can_be_another_one(here_with_run, key):
    whole = Path("run/run.json").read_bytes()
    assert load_run("run").labels == ["ham", "spam"]
    for value in VALUES:
        set_in("run/run.json", **{key: value})
        if json.loads(whole)[key] == value and type(json.loads(whole)[key]) is type(value):
            continue
        with pytest.raises((InputError, OSError)):  # OSError: a file name too long
            load_run("run")
        Path("run/run.json").write_bytes(whole)
    spoil(
        "run/run.json",
        lambda b: json.dumps({name: entry for name, entry in json.loads(b).items() if name != key}).encode(),
    )
    with pytest.raises(InputError, match=f"run.json: damaged .*{key}"):
        load_run("run")


def test_a_run_whose_model_moved_works_again_once_told_so(here_with_run, capsys):
    expected = output(capsys, classify.main, "run", "win a prize")
    os.rename("model", "moved")
    refusal(capsys, classify.main, "run", "win a prize")
    set_in("run/run.json", model="moved")
    assert output(capsys, classify.main, "run", "win a prize") == expected


def test_two_dashes_are_a_message_like_any_other(made, capsys):
    expected = output(capsys, classify.main, made / "run", "-", "hello").splitlines()[1:]
    shown = output(capsys, classify.main, made / "run", "--", "hello", "--").splitlines()
    assert shown[:1] == expected and shown[1].endswith("\t--")
    assert output(capsys, classify.main, made / "run", "--", "--").splitlines() == shown[1:]


@pytest.mark.parametrize("texts, number", [([""], 1), (["fine", " \n"], 2), (["fine"] * 40 + [""], 41)])
def test_a_message_without_text_is_named(made, capsys, texts, number):
    assert f"message {number}: there is no text" in refusal(capsys, classify.main, made / "run", *texts)


# generate


def test_generate_prints_the_prompt_and_its_continuation_and_nothing_else(made, capsys):
    _, _, encoding = load_checkpoint(made / "model")
    shown = output(capsys, generate.main, "win a ", "--model", made / "model", "--greedy", "--tokens", "5")
    assert shown.startswith("win a ") and shown.endswith("\n") and len(shown) > 8
    assert shown == output(capsys, generate.main, "win a ", "--model", made / "model", "--top-k", "1", "--tokens", "5")
    drawn = [
        output(capsys, generate.main, "win", "--model", made / "model", "--seed", seed, "--tokens", "9")
        for seed in "112"
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def constant_model(folder, rows, favourite):
    """A model of `rows` embedding rows that always says `favourite` next."""
    save_model(folder, Config(rows, 24, 8, 1, 2))
    config, params, encoding = load_checkpoint(folder)
    params = {name: np.zeros_like(array) for name, array in params.items()}
    params["ln_f.bias"][0], params["wte.weight"][favourite, 0] = 1, 50
    params["wte.weight"][300:, 0] = 99  # rows beyond the tokenizer's ids
    save_folder(folder, config, params, encoding)


def test_generate_stops_where_the_positions_end_and_says_so(tmp_path, capsys):
    constant_model(tmp_path, 300, 5)
    _, _, encoding = load_checkpoint(tmp_path)
    prompt = len(encoding.encode_ordinary("win"))
    generate.main(["--model", str(tmp_path), "--tokens", "999", "win"])
    shown = capsys.readouterr()
    assert shown.out == "win" + (24 - prompt + 1) * encoding.decode([5]) + "\n"
    assert shown.err == "stopped: the model's 24 positions are full\n"
    generate.main(["--model", str(tmp_path), "--tokens", str(24 - prompt + 1), "win"])
    assert capsys.readouterr() == (shown.out, ""), "it was asked for no more"


def test_generate_ends_at_endoftext(tmp_path, capsys):
    constant_model(tmp_path, 300, 299)
    assert output(capsys, generate.main, "win", "--model", tmp_path) == "win\n"


def test_generate_puts_the_bytes_of_a_character_together(made, capsys, monkeypatch):
    _, _, encoding = load_checkpoint(made / "model")
    ids = [encoding.encode_single_token(bytes([byte])) for byte in "€é".encode() + b"\xe2\x82"]
    monkeypatch.setattr(gpt, "continuation", lambda *_: iter(ids))
    assert output(capsys, generate.main, "win", "--model", made / "model") == "win€é\ufffd\n"


def test_generate_never_says_an_id_that_the_tokenizer_lacks(tmp_path, capsys):
    constant_model(tmp_path, 310, 5)
    word = load_checkpoint(tmp_path)[2].decode([5])
    for draw in (["--greedy"], ["--temperature", "0.1"]):
        assert (
            output(capsys, generate.main, "win", "--model", tmp_path, "--tokens", "3", *draw) == "win" + 3 * word + "\n"
        )


@pytest.mark.parametrize(
    "options, expected",
    [
        ("--model absent", "absent: no such folder"),
        ("--temperature 0", "--temperature: expected a number above 0"),
        ("--top-p 1.1", "--top-p: expected a number above 0 and at most 1"),
        ("--top-k 0", "--top-k: expected a whole number"),
        ("--tokens -3", "--tokens: expected a whole number"),
    ],
)
def test_generate_refuses_in_one_line(here, capsys, options, expected):
    assert expected in refusal(capsys, generate.main, "win", "--model", "model", *options.split())


def test_generate_refuses_a_prompt_that_the_positions_do_not_hold(made, capsys):
    error = refusal(capsys, generate.main, "£" * 25, "--model", made / "model")
    assert re.search(r"the text has \d+ tokens; .*model takes at most 24", error)


# pretrain


SMALL = "text.txt --lines --layers 1 --width 8 --heads 2 --positions 16 --vocabulary 290 --batch-size 2 --held-out 0.2"


def test_pretrain_makes_a_model_that_every_command_takes(here, capsys):
    shown = output(
        capsys,
        pretrain.main,
        *SMALL.split(),
        "--steps",
        "60",
        "--eval-every",
        "30",
        "--warmup",
        "5",
        "--lr",
        "0.02",
        "--out",
        "new",
    )
    perplexities = [float(number) for number in re.findall(r"perplexity ([\d.]+) \|", shown)]
    assert perplexities[1] < perplexities[0] < 290
    assert float(re.search(r"perplexity of the stored model: ([\d.]+)", shown)[1]) == pytest.approx(
        perplexities[1], abs=0.01
    )
    made = {"config.json", "curve.csv", "merges.txt", "model.safetensors", "vocab.json"}
    assert set(os.listdir("new")) - {"curve.png"} == made
    curve = pd.read_csv("new/curve.csv")
    assert curve["step"].tolist() == [30, 60] and curve["tokens"].tolist() == [30 * 2 * 16, 60 * 2 * 16]
    np.testing.assert_allclose(curve["held_out_perplexity"], perplexities, atol=0.01)
    assert curve["train_loss"].is_monotonic_decreasing
    assert output(capsys, generate.main, "win", "--model", "new", "--tokens", "3").startswith("win")
    train.main("--model new --data two.csv --epochs 1 --out run2".split())
    more = "text.txt --lines --from new --steps 3 --batch-size 2 --held-out 0.2 --half --out more"
    shown = output(capsys, pretrain.main, *more.split())
    assert float(re.search(r"step +3: .*perplexity ([\d.]+) \|", shown)[1]) < 0.7 * 290
    assert {tensor.stored_as for tensor in open_safetensors("more/model.safetensors").values()} == {"F16"}


@pytest.mark.parametrize("at", [1, 4, 6])
def test_ctrl_c_lets_pretraining_go_on_as_if_nothing_had_been(here, capsys, monkeypatch, at):
    arguments = [*SMALL.split(), "--steps", "6", "--eval-every", "3"]
    pretrain.main([*arguments, "--out", "whole"])

    class Interrupted(pretrain.Pretraining):
        def step(self):
            if self.done == at - 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step()

    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "Pretraining", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain.main([*arguments, "--out", "new"])
    assert "resume.safetensors" in os.listdir("new") and "config.json" not in os.listdir("new")
    assert f"interrupted after step {at};" in capsys.readouterr().out

    before = contents(here / "new")
    assert "lr = '0.002', not '0.1'" in refusal(capsys, pretrain.main, *arguments, "--lr", "0.1", "--out", "new")
    text = Path("text.txt").read_bytes()
    spoil("text.txt", lambda b: b[: len(b) // 2] + b"home soon" + b[len(b) // 2 :])
    assert "resume.safetensors: that run has text = " in refusal(capsys, pretrain.main, *arguments, "--out", "new")
    assert contents(here / "new") == before

    Path("text.txt").write_bytes(text)
    assert f"going on from step {at}\n" in output(capsys, pretrain.main, *arguments, "--out", "new")
    assert contents(here / "new") == contents(here / "whole")


def test_a_run_goes_on_with_other_steps_on_their_schedule(here, capsys, monkeypatch):
    arguments = [*SMALL.split(), "--eval-every", "2", "--warmup", "0", "--out", "new"]
    rates = []

    class Interrupted(pretrain.Pretraining):
        def step(self):
            if self.done == 3 and self.steps == 50:
                os.kill(os.getpid(), signal.SIGINT)
            loss = super().step()
            rates.append(self.optimizers[0].lr)
            return loss

    monkeypatch.setattr(pretrain, "Pretraining", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain.main([*arguments, "--steps", "50"])
    assert "going on from step 4\n" in output(capsys, pretrain.main, *arguments, "--steps", "6")
    assert rates[4:] == [learning_rate(step, 6, 2e-3, 0) for step in (4, 5)]
    assert pd.read_csv("new/curve.csv")["step"].tolist() == [2, 4, 6]


def test_a_file_counts_as_often_as_its_weight(here, capsys):
    """Its documents, and so the tokens; a weight of one half takes every second."""
    Path("a.txt").write_text("".join(f"this is line {n} of many\n" for n in range(200)))

    def counted(name):
        shown = output(
            capsys,
            pretrain.main,
            name,
            *SMALL.split()[1:],
            "--vocabulary",
            "257",
            "--steps",
            "1",
            "--out",
            f"of {name}",
        )
        return int(re.search(r"text +([\d,]+) documents", shown)[1].replace(",", ""))

    assert [counted(name) for name in ("a.txt", "a.txt:2", "a.txt:0.5")] == [160, 320, 80]
    Path("b.txt:3").write_bytes(Path("a.txt").read_bytes())
    assert counted("b.txt:3") == 160, "the whole is the name of a file"


def test_the_second_ctrl_c_does_not_wait(here, monkeypatch):
    class Interrupted(pretrain.Pretraining):
        def step(self):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("went on")

    monkeypatch.setattr(pretrain, "Pretraining", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pretrain.main([*SMALL.split(), "--steps", "6", "--out", "new"])
    assert signal.getsignal(signal.SIGINT) is before


REFUSED_BY_PRETRAIN = {
    "a weight of nothing": ("text.txt:0", "expected a number above 0 and at most 1000, got '0'"),
    "a weight that is no number": ("text.txt:x", "text.txt:x: cannot read the text"),
    "no text": ("absent.txt", "absent.txt: cannot read the text"),
    "not UTF-8": ("model/model.safetensors", "model.safetensors, line .*: not UTF-8"),
    "one document": ("text.txt", "nothing is left to train on"),
    "a width that heads do not divide": ("--width 9", "--width 9 is not divisible by --heads 2"),
    "a vocabulary without bytes": ("--vocabulary 256", "a vocabulary of 256 entries is too small"),
    "a vocabulary too large": ("--vocabulary 9000", r"yields only \d+ vocabulary entries, not 9000"),
    "a vocabulary that is no folder": ("--vocabulary none", "none: no such folder"),
    "a context too long": ("--context 17", "--context 17: the model has only 16 positions"),
    "a batch too large": ("--batch-size 999", "does not fill one batch of 999 windows"),
    "too little held out": (
        "--held-out 0.001 --positions 99",
        "the 1 held-out documents do not fill one window of 99 tokens",
    ),
    "an absent start": ("--from absent", "absent: no such folder"),
    "an existing folder": ("--out model", "model exists and holds no interrupted run"),
    "no steps": ("--steps 0", "--steps: expected a whole number at least 1"),
    "all held out": ("--held-out 1", "--held-out: expected a number above 0 and at most 0.9"),
}


@pytest.mark.parametrize("what", REFUSED_BY_PRETRAIN)
def test_pretrain_refuses_in_one_line_and_leaves_no_folder(here, capsys, what):
    options, expected = REFUSED_BY_PRETRAIN[what]
    arguments = [options] if not options.startswith("--") else [*SMALL.split(), *options.split()]
    before = contents(here)
    error = refusal(capsys, pretrain.main, "--out", "new", *arguments)
    assert re.search(expected, error), error
    assert contents(here) == before and not Path("new").exists()
