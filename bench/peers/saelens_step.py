"""SAELens' side of the peer comparison: its own training step, or its own JumpReLU encode, timed on request.

Started by compare.ts as `python saelens_step.py DATA.safetensors`. The file holds weights (f32, latent-major, as Lapidary
keeps them), batches and, in its metadata, a JSON `spec`. Then one JSON request a line on standard input, one JSON answer a
line on standard output: {"count": n} does n turns (training steps, or encodes of a batch) and answers how many seconds each
took. End of input ends the program.

Timed is what SAETrainer.fit() calls for each batch: `SAETrainer._train_step`, which is forward, backward, clipping by global
norm, Adam and the schedulers. Not timed: fetching the batch. Needs torch, safetensors and sae_lens 6.18 or later.
"""

import dataclasses
import json
import os
import sys
import time

# The answers have the real standard output to themselves: libraries may print as they load.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402


def accepted(config_class, required, optional):
    """The settings that this version's dataclass knows; one that it must know and does not is an error."""
    known = {field.name for field in dataclasses.fields(config_class)}
    missing = sorted(set(required) - known)
    if missing:
        raise SystemExit(f"{config_class.__name__} of this sae_lens has no {', '.join(missing)}")
    return {**required, **{name: value for name, value in optional.items() if name in known}}


def load_weights(sae, data):
    """Weights of the file into the SAE; the encoder is [d_in, d_sae] here, [d_sae, d_in] in the file."""
    with torch.no_grad():
        sae.W_enc.copy_(data.get_tensor("wEnc").T)
        sae.W_dec.copy_(data.get_tensor("wDec"))
        sae.b_enc.copy_(data.get_tensor("bEnc"))
        sae.b_dec.copy_(data.get_tensor("bDec"))


def training_turn(spec, data):
    """A function that does one training step on a batch and returns (seconds, loss, l0)."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes.matryoshka_batchtopk_sae import (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    )
    from sae_lens.training.sae_trainer import SAETrainer

    sae = MatryoshkaBatchTopKTrainingSAE(
        MatryoshkaBatchTopKTrainingSAEConfig(
            **accepted(
                MatryoshkaBatchTopKTrainingSAEConfig,
                {
                    "d_in": spec["dIn"],
                    "d_sae": spec["dSae"],
                    "k": spec["k"],
                    "matryoshka_widths": spec["widths"],
                    "aux_loss_coefficient": spec["auxCoefficient"],
                    "rescale_acts_by_decoder_norm": True,
                    "apply_b_dec_to_input": True,
                    "normalize_activations": "none",
                    "device": "cpu",
                    "dtype": "float32",
                },
                {"topk_threshold_lr": 0.01, "decoder_init_norm": None},
            )
        )
    )
    load_weights(sae, data)
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            **accepted(
                SAETrainerConfig,
                {
                    "total_training_samples": 10**6 * spec["batchTokens"],
                    "train_batch_size_samples": spec["batchTokens"],
                    "device": "cpu",
                    "autocast": False,
                    "lr": spec["learningRate"],
                    "adam_beta1": spec["beta1"],
                    "adam_beta2": spec["beta2"],
                    "dead_feature_window": 1000,
                },
                {
                    "n_checkpoints": 0,
                    "checkpoint_path": None,
                    "save_final_checkpoint": False,
                    "lr_end": spec["learningRate"],
                    "lr_scheduler_name": "constant",
                    "lr_warm_up_steps": 0,
                    "lr_decay_steps": 0,
                    "n_restart_cycles": 1,
                    "feature_sampling_window": 2000,
                    "logger": LoggingConfig(log_to_wandb=False),
                },
            )
        ),
        sae=sae,
        data_provider=iter(()),
    )
    dead = data.get_tensor("dead").bool()
    has_dead = bool(dead.any())

    def turn(batch):
        if has_dead:
            trainer.n_forward_passes_since_fired[dead] = 1001
        start = time.perf_counter()
        output = trainer._train_step(sae=trainer.sae, sae_in=batch)
        seconds = time.perf_counter() - start
        trainer.n_training_steps += 1
        trainer.n_training_samples += len(batch)
        return seconds, output.loss.item(), torch.count_nonzero(output.feature_acts).item() / len(batch)

    return turn


def encode_turn(spec, data):
    """A function that encodes a batch with JumpReLU and returns (seconds, none, l0)."""
    from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig

    sae = JumpReLUSAE(
        JumpReLUSAEConfig(
            **accepted(
                JumpReLUSAEConfig,
                {"d_in": spec["dIn"], "d_sae": spec["dSae"], "apply_b_dec_to_input": True},
                {"normalize_activations": "none", "device": "cpu", "dtype": "float32"},
            )
        )
    )
    load_weights(sae, data)
    with torch.no_grad():
        sae.threshold.copy_(data.get_tensor("thresholds"))
    sae.eval()

    def turn(batch):
        with torch.no_grad():
            start = time.perf_counter()
            acts = sae.encode(batch)
            seconds = time.perf_counter() - start
        return seconds, None, torch.count_nonzero(acts).item() / len(batch)

    return turn


def peak_memory_bytes():
    """The most memory this process has had resident; None where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def answer(**fields):
    answers.write(json.dumps(fields) + "\n")
    answers.flush()


def main(path):
    with safe_open(path, "pt") as data:
        spec = json.loads(data.metadata()["spec"])
        torch.set_num_threads(spec["threads"])
        turn = {"train": training_turn, "encode": encode_turn}[spec["bench"]](spec, data)
        # copies: views would keep the whole file mapped, and counted as this program's memory
        batches = [data.get_tensor(f"batch.{i}").clone() for i in range(spec["nBatches"])]
    import sae_lens

    answer(ready=True, saeLens=sae_lens.__version__, torch=torch.__version__, threads=torch.get_num_threads())
    done = 0
    for line in sys.stdin:
        seconds = []
        for _ in range(json.loads(line)["count"]):
            spent, loss, l0 = turn(batches[done % len(batches)])
            seconds.append(spent)
            done += 1
        answer(seconds=seconds, loss=loss, l0=l0, peakMemoryBytes=peak_memory_bytes())


main(sys.argv[1])
