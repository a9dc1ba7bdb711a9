"""The first 60 steps of `numpygpt.train --recipe book` at 124M, side by side with the book's script in PyTorch.

    python bench/first_60_steps.py SMSSpamCollection                   # random weights, made by transformers
    python bench/first_60_steps.py SMSSpamCollection --model FOLDER    # the weights of a Hugging Face folder

Needs torch and transformers (pip install '.[oracles]'), 4 GB of memory, and about ten minutes of one core. Exits with
status 1 where any loss differs by 1e-3 or more. first_60_steps.txt is the table that it printed with random weights
(torch 2.13, transformers 5.23).
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import tiktoken
import torch
from transformers import GPT2Config, GPT2Model

STEPS, BOUND = 60, 1e-3


def book_losses(model_folder, data):
    """(losses of the steps, {step: (training loss, validation loss)}) of chapter 6's script,
    with GPT-2 from transformers."""
    frame = pd.read_csv(data, sep="\t", header=None, names=["Label", "Text"])
    spam = frame[frame["Label"] == "spam"]
    ham = frame[frame["Label"] == "ham"].sample(len(spam), random_state=123)
    balanced = pd.concat([ham, spam]).sample(frac=1, random_state=123).reset_index(drop=True)
    ends = int(len(balanced) * 0.7), int(len(balanced) * 0.7) + int(len(balanced) * 0.1)
    encoding = tiktoken.get_encoding("gpt2")
    ids = [encoding.encode(text) for text in balanced["Text"]]
    longest = max(map(len, ids[: ends[0]]))
    padded = [torch.tensor(one[:longest] + [50256] * (longest - len(one))) for one in ids]
    examples = list(zip(padded, (balanced["Label"] == "spam").astype(int)))
    training = torch.utils.data.DataLoader(examples[: ends[0]], batch_size=8, shuffle=True, drop_last=True)
    validation = torch.utils.data.DataLoader(examples[ends[0] : ends[1]], batch_size=8)

    gpt = GPT2Model.from_pretrained(model_folder, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    gpt.requires_grad_(False)
    torch.manual_seed(123)
    head = torch.nn.Linear(gpt.config.n_embd, 2)
    gpt.h[-1].requires_grad_(True)
    gpt.ln_f.requires_grad_(True)

    def batch_loss(inputs, labels):
        return torch.nn.functional.cross_entropy(head(gpt(inputs, use_cache=False).last_hidden_state[:, -1]), labels)

    @torch.no_grad()
    def mean_loss(loader, batches=5):
        total = 0.0
        for i, (inputs, labels) in enumerate(loader):
            if i == batches:
                break
            total += batch_loss(inputs, labels).item()
        return total / batches

    torch.manual_seed(123)
    optimizer = torch.optim.AdamW([*gpt.parameters(), *head.parameters()], lr=5e-5, weight_decay=0.1)
    losses, evaluations = [], {}
    for step, (inputs, labels) in enumerate(training):
        if step == STEPS:
            break
        optimizer.zero_grad()
        loss = batch_loss(inputs, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 0:
            evaluations[step] = mean_loss(training), mean_loss(validation)
    return losses, evaluations


def our_losses(model_folder, data, out):
    """The same of numpygpt, from the history of its run."""
    command = [
        "numpygpt.train",
        "--recipe",
        "book",
        "--epochs",
        "1",
        "--model",
        model_folder,
        "--data",
        data,
        "--out",
        out,
    ]
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True)
    with open(out / "history.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["loss"] and int(row["step"]) < STEPS]
    evaluations = {
        int(row["step"]): (float(row["train_loss"]), float(row["validation_loss"])) for row in rows if row["train_loss"]
    }
    return [float(row["loss"]) for row in rows], evaluations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the UCI file SMSSpamCollection")
    parser.add_argument("--model", type=Path, help="a Hugging Face folder (default: random weights)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.model is None:
            args.model = Path(folder) / "model"
            torch.manual_seed(1)
            GPT2Model(GPT2Config()).save_pretrained(args.model)
        losses, evaluations = our_losses(args.model, args.data, Path(folder) / "run")
        print("\nNow the same in PyTorch", flush=True)
        their_losses, their_evaluations = book_losses(args.model, args.data)

    print(f"\n{'':<24}{'numpygpt':>12}{'PyTorch':>12}{'difference':>12}")
    differences = []

    def show(label, ours, theirs):
        differences.append(abs(ours - theirs))
        print(f"{label:<24}{ours:>12.6f}{theirs:>12.6f}{ours - theirs:>12.1e}")

    for step, pair in enumerate(zip(losses, their_losses, strict=True)):
        show(f"step {step:02d}", *pair)
        for name, *pair in zip(("training", "validation"), evaluations.get(step, ()), their_evaluations.get(step, ())):
            show(f"step {step:02d}, {name} loss", *pair)
    print(f"\nlargest difference of {len(differences)} losses: {max(differences):.1e} (allowed: below {BOUND:.0e})")
    return 0 if max(differences) < BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
