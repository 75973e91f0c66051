"""The same work by preflow and by TRL: same model, data, batches, optimizer and loss curve, alternating in one run.

    python benchmarks/against_trl.py                      # DPO and reward modeling, CPU, fp32
    python benchmarks/against_trl.py --task dpo --precision bf16 --device cuda --hidden 2048 --layers 16 --batch 32

Needs the extra `preflow[benchmarks]`. Each measurement is a process of its own, in the order A B A B. Times depend on
the machine and its load; the ratios of neighbours are what counts. Fails if the loss curves differ.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORDS = [
    first + second for first in ("ba", "co", "de", "fi", "lu", "mo", "ra", "su") for second in ("n", "rt", "lk", "ve")
]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CURVE = {"fp32": 2e-3, "bf16": 5e-2}  # largest difference of the two losses at any step


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("dpo", "reward", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=2, help="how often A and B alternate")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prompt-words", type=int, default=60, help="mean length of a prompt")
    parser.add_argument("--answer-words", type=int, default=60, help="mean length of a completion")
    parser.add_argument(
        "--precompute", action="store_true", help="let TRL compute reference log-probabilities up front"
    )
    parser.add_argument("--write", action="store_true", help="write the table to benchmarks/against_trl.md")
    parser.add_argument("--worker", choices=("preflow", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---------------------------------------------------------------- the common ground: one policy, one data set


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """A policy artifact and a dataset artifact, and the order in which preflow's plan visits the rows."""
    import numpy as np
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rng = np.random.default_rng(0)
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(
        [" ".join(WORDS)] * 2, trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    import torch

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden,
        intermediate_size=int(options.hidden * 2.75) // 16 * 16,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 64),
        num_key_value_heads=max(1, options.hidden // 64),
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")

    def words(mean: int) -> str:  # log-normal lengths, as in real preference data
        count = int(np.clip(rng.lognormal(np.log(mean), 0.6), 3, 6 * mean))
        return " ".join(rng.choice(WORDS, count))

    texts = [
        (words(options.prompt_words), words(options.answer_words), words(options.answer_words))
        for _ in range(options.pairs)
    ]
    _dataset_artifact(folder / "dataset", texts)
    rows = _order(texts, tokenizer, options)
    (folder / "trl.json").write_text(json.dumps([texts[row] for row in rows]))


def _dataset_artifact(folder: Path, texts: list[tuple[str, str, str]]) -> None:
    from components.records import make_record, simple_task, text_candidate, write_records

    folder.mkdir()
    judgment = {"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["a", "b"]}
    records = [
        make_record(
            task=simple_task(prompt),
            candidates=[text_candidate("a", chosen), text_candidate("b", rejected)],
            judgments=[judgment],
            annotator={"id": "benchmark", "kind": "heuristic", "revision": "1"},
            provenance={"source": "synthetic"},
        )
        for prompt, chosen, rejected in texts
    ]
    for split in ("train", "validation", "test", "quarantine"):
        write_records(folder / f"{split}.jsonl", records if split == "train" else [])
    (folder / "summary.json").write_text("{}")
    (folder / "card.html").write_text("")


def _order(texts: list[tuple[str, str, str]], tokenizer: Any, options: argparse.Namespace) -> list[int]:
    """Rows in the order of preflow's plan: TRL gets the same batches, and with them our batching by length."""
    from components.sequences.tokenize import encode_pair
    from components.training.loop import plan
    from components.training.params import Optimization

    lengths = []
    for prompt, *answers in texts:
        encoded = [encode_pair(tokenizer, [{"role": "user", "content": prompt}], answer) for answer in answers]
        lengths.append(2 * max(len(one.row) for one in encoded))
    return [row for rows in plan(lengths, Optimization(batch_size=options.batch), 0) for row in rows]


# ---------------------------------------------------------------- the two workers


def work(options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in this process. Imports are not part of any time."""
    import psutil
    import torch
    from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast  # noqa: F401

    if options.worker == "trl":
        import datasets  # noqa: F401
        from trl import DPOTrainer, RewardTrainer  # noqa: F401
    else:
        import components.policy_optimization.run
        import components.reward_modeling.run  # noqa: F401
    torch.set_num_threads(options.threads)
    run = (preflow_dpo if options.task == "dpo" else preflow_reward) if options.worker == "preflow" else trl_any
    before = psutil.Process().memory_info().rss
    began, cpu = time.perf_counter(), time.process_time()
    result = run(options)
    result |= {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    device = torch.device(options.device)
    from components.training.throughput import matmul_peak, peak_memory

    peaks = peak_memory(device)
    result["memory"] = peaks.get("peak_cuda_bytes", peaks["peak_rss_bytes"] - before)
    result["peak"] = matmul_peak(device, options.precision)
    return result


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "max_length": 2048,
        "compute": {"device": options.device, "threads": options.threads, "precision": options.precision},
        "optimization": {
            "learning_rate": 1e-4,
            "schedule": "constant",
            "warmup": 0.0,
            "batch_size": options.batch,
            "micro_batch_tokens": 16384,
        },
    }


def _preflow(
    options: argparse.Namespace, name: str, port: str, inputs: dict[str, str], extra: dict[str, Any]
) -> dict[str, Any]:
    from components.contract import run_component

    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PREFLOW_HOME"] = scratch + "/home"
        outputs = {key: Path(scratch) / key for key in [port, *extra.pop("ports", [])]}
        paths = {key: [options.folder / value] for key, value in inputs.items()}
        run_component(name, {**_settings(options), **extra}, paths, outputs)
        log = [json.loads(line) for line in (outputs[port] / "training_log.jsonl").read_text().splitlines()]
        facts = json.loads((outputs[port].parent / f"{port}.execution.json").read_text())
    return {"losses": [line["loss"] for line in log], "train": facts["train_seconds"]}


def preflow_dpo(options: argparse.Namespace) -> dict[str, Any]:
    from components.policy_optimization import prepare

    spent, real = [0.0], prepare.with_reference

    def timed(*args: Any) -> Any:
        began = time.perf_counter()
        found = real(*args)
        spent[0] += time.perf_counter() - began
        return found

    prepare.with_reference = timed
    ports = {"dataset": "dataset", "policy": "policy"}
    result = _preflow(options, "policy_optimization", "policy", ports, {"ports": ["reference_logprobs"]})
    result["train"] += spent[0]  # TRL runs the reference within its loop
    return result


def preflow_reward(options: argparse.Namespace) -> dict[str, Any]:
    return _preflow(options, "reward_modeling", "model", {"dataset": "dataset", "base": "policy"}, {})


def trl_any(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

    texts = json.loads((options.folder / "trl.json").read_text())
    policy = options.folder / "policy"
    user = [[{"role": "user", "content": prompt}] for prompt, *_ in texts]
    answers = [[[{"role": "assistant", "content": row[side]}] for row in texts] for side in (1, 2)]
    data = Dataset.from_dict({"prompt": user, "chosen": answers[0], "rejected": answers[1]})
    with tempfile.TemporaryDirectory() as scratch:
        common: dict[str, Any] = {
            "output_dir": scratch,
            "per_device_train_batch_size": options.batch,
            "num_train_epochs": 1,
            "learning_rate": 1e-4,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "bf16": options.precision == "bf16",
            "use_cpu": options.device == "cpu",
            "gradient_checkpointing": False,
            "max_length": 2048,
            "train_sampling_strategy": "sequential",
            "dataloader_pin_memory": options.device == "cuda",
        }
        tokenizer = AutoTokenizer.from_pretrained(policy)
        trainer: Any
        if options.task == "dpo":
            model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
            config = DPOConfig(**common, beta=0.1, precompute_ref_log_probs=options.precompute)
            trainer = DPOTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
        else:
            from components.contract import Choice
            from components.preference_models.network import new_network
            from components.training.params import Compute

            model, _ = new_network(policy, Choice("scalar"), Compute(device=options.device), seed=0)
            trainer = RewardTrainer(model, args=RewardConfig(**common), train_dataset=data, processing_class=tokenizer)
        began = time.perf_counter()
        trainer.train()
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        trainer.save_model(scratch + "/model")
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"losses": losses, "train": seconds}


# ---------------------------------------------------------------- A B A B and the table


def measure(options: argparse.Namespace, task: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"preflow": [], "trl": []}
    for turn in range(options.rounds):
        for worker in found:
            print(f"{task}: round {turn + 1}/{options.rounds} {worker}", file=sys.stderr, flush=True)
            command = [
                sys.executable,
                __file__,
                *sys.argv[1:],
                "--task",
                task,
                "--worker",
                worker,
                "--folder",
                str(folder),
            ]
            path = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
                "OMP_NUM_THREADS": str(options.threads),
                "HF_HUB_OFFLINE": "1",
                "TQDM_DISABLE": "1",
                "DO_NOT_TRACK": "true",
            }
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{task} {worker} failed:\n{done.stderr[-3000:]}")
            found[worker].append(json.loads(done.stdout.strip().splitlines()[-1]))
    return found


def compare_curves(found: dict[str, list[dict[str, Any]]], precision: str) -> float:
    """Largest difference of the losses at any step; fails if it is more than rounding explains."""
    ours, theirs = found["preflow"][0]["losses"], found["trl"][0]["losses"]
    if len(ours) != len(theirs):
        raise SystemExit(f"not the same work: {len(ours)} and {len(theirs)} steps")
    gap = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    if gap > CURVE[precision]:
        raise SystemExit(f"not the same work: losses differ by {gap:.1e}\n{ours}\n{theirs}")
    return gap


def table(options: argparse.Namespace, task: str, found: dict[str, list[dict[str, Any]]], gap: float) -> list[str]:
    """Markdown rows: medians of each side, and the median of the ratios of neighbouring runs."""

    def ratio(name: str) -> float:
        return statistics.median(t[name] / p[name] for p, t in zip(found["preflow"], found["trl"], strict=True))

    def middle(worker: str, name: str) -> float:
        return statistics.median(run[name] for run in found[worker])

    flops, rows = useful_flops(options, task), []
    peak = max(run["peak"] for runs in found.values() for run in runs)  # the least disturbed measurement
    for worker in found:
        rate = options.pairs / middle(worker, "train")
        share = flops / middle(worker, "train") / peak
        memory = middle(worker, "memory") / 2**20
        total, cpu = middle(worker, "seconds"), middle(worker, "cpu")
        rows.append(f"| {task} | {worker} | {rate:.1f} | {share:.1%} | {total:.1f} | {cpu:.1f} | {memory:.0f} |")
    rows.append(
        f"| {task} | **TRL / preflow** | **{ratio('train'):.2f}x time** | | **{ratio('seconds'):.2f}x** | "
        f"**{ratio('cpu'):.2f}x** | **{ratio('memory'):.2f}x** |"
    )
    rows.append(f"| {task} | largest difference of the loss curves | {gap:.1e} | | | | |")
    return rows


def useful_flops(options: argparse.Namespace, task: str) -> float:
    """Of the plain algorithm, two rows per pair: 6 per weight and token, 2 for the reference, head on completions."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from components.sequences.tokenize import encode_pair

    tokenizer = AutoTokenizer.from_pretrained(options.folder / "policy")
    model = AutoModelForCausalLM.from_pretrained(options.folder / "policy")
    head = model.lm_head.weight.numel()
    body = sum(p.numel() for p in model.parameters() if p.ndim == 2) - 2 * head
    tokens = completion = 0
    for prompt, *answers in json.loads((options.folder / "trl.json").read_text()):
        for answer in answers:
            encoded = encode_pair(tokenizer, [{"role": "user", "content": prompt}], answer)
            tokens, completion = tokens + len(encoded.row), completion + len(encoded.completion_ids)
    return (8.0 * (body * tokens + head * completion)) if task == "dpo" else 6.0 * body * tokens


def main() -> None:
    options = arguments()
    if options.worker:
        print(json.dumps(work(options)))
        return
    lines = [
        f"{options.device} {options.precision}, {options.threads} threads; Llama hidden {options.hidden}, "
        f"{options.layers} layers, vocabulary {options.vocabulary}; {options.pairs} pairs, batch {options.batch}, "
        f"about {options.prompt_words} + {options.answer_words} words; {options.rounds} rounds A B, medians."
        + (" TRL with precompute_ref_log_probs." if options.precompute else ""),
        "",
        "| task | | pairs/s, reference included | share of matmul peak | end to end, s | CPU s | memory added, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        prepare(options.folder, options)
        for task in ("dpo", "reward") if options.task == "all" else (options.task,):
            found = measure(options, task, options.folder)
            lines += table(options, task, found, compare_curves(found, options.precision))
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        (HERE / "against_trl.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
