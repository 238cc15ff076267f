"""The whole model: CPU time and peak memory of a train step and of inference, ours against PyTorch.

    python benchmarks/full_model_step.py [--steps 5] [--rounds 2]

Preset avbert_base with its Kinetics-Sounds heads: one clip of 10 segments of 32 x 112 x 112 pixels and their
spectrograms, both losses, gradients of everything, Adam. Each side has the machine to itself, one after the other;
the sides take turns `--rounds` times, and ratios are those of the rounds.
"""

from __future__ import annotations

import statistics
import sys

from measure import Worker, median, pytorch_python, read_arguments, serve, take_turns

CLASSES, SEGMENTS, FRAMES, SIZE = 32, 10, 32, 112
CASES = {
    "float32": "train",
    "float32 remat": "train",
    "bfloat16": "train",
    "bfloat16 remat": "train",
    "pytorch float32": "train",
    "pytorch bfloat16": "train",
    "float32 inference": "inference",
    "float32 folded inference": "inference",
    "bfloat16 folded inference": "inference",
    "pytorch float32 inference": "inference",
}


def make_model(remat: bool = False):
    """The classifier and inputs for it, under the current dtype policy."""
    import tensorflow as tf

    from pemt_tf.config import ModelConfig
    from pemt_tf.models.heads import AVClassifier

    model = AVClassifier(ModelConfig(remat=remat), CLASSES)
    model.build()
    inputs = {
        "frames": tf.random.normal((1, SEGMENTS, FRAMES, SIZE, SIZE, 3)),
        "log_mel": tf.random.normal((1, SEGMENTS, 80, 128, 1)),
    }
    return model, inputs


def make_train_step(remat: bool = False):
    """A compiled train step; returns the loss."""
    import tensorflow as tf

    from pemt_tf.training.optimizers import TorchAdam

    model, inputs = make_model(remat)
    labels = tf.zeros((1, SEGMENTS), tf.int32)
    optimizer = TorchAdam(1e-4, epsilon=1e-6)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            heads = model(inputs, training=True)["logits"].values()
            losses = [tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits) for logits in heads]
            loss = tf.add_n([tf.reduce_mean(each) for each in losses])
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return step


def run_ours(case: str) -> None:
    """A worker of ours."""
    import keras
    import tensorflow as tf

    keras.config.set_dtype_policy("mixed_bfloat16" if "bfloat16" in case else "float32")
    if "inference" in case:
        model, inputs = make_model()
        model = model.fold() if "folded" in case else model
        step = tf.function(lambda: model(inputs, training=False)["probabilities"])
    else:
        step = make_train_step("remat" in case)
    serve(lambda: step().numpy())


def run_pytorch(case: str) -> None:
    """A worker of the other side."""
    import torch
    from pytorch_model import Classifier
    from torch.nn.functional import cross_entropy

    model = Classifier(CLASSES)
    model.train("inference" not in case)
    frames = torch.randn(1, SEGMENTS, 3, FRAMES, SIZE, SIZE)
    log_mel = torch.randn(1, SEGMENTS, 1, 80, 128)
    labels = torch.zeros(SEGMENTS, dtype=torch.long)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, eps=1e-6)

    def step():
        if "inference" in case:
            with torch.no_grad():
                return model(frames, log_mel)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled="bfloat16" in case):
            heads = model(frames, log_mel)
        losses = [cross_entropy(logits.flatten(0, 1).float(), labels) for logits in heads]
        torch.stack(losses).sum().backward()
        return optimizer.step()

    serve(step)


def main() -> None:
    """Runs all sides and prints the table."""
    arguments = read_arguments(
        __doc__, steps=(5, "steps of each side per round"), rounds=(2, "how often the sides take turns")
    )
    if arguments.worker:
        return (run_pytorch if arguments.worker.startswith("pytorch") else run_ours)(arguments.worker)
    other = pytorch_python()
    cases = [case for case in CASES if other or not case.startswith("pytorch")]
    rounds = {case: [] for case in cases}
    for _ in range(arguments.rounds):
        for case in cases:
            worker = Worker("full_model_step.py", case, other if case.startswith("pytorch") else sys.executable)
            runs = take_turns({case: worker}, arguments.steps)[case]
            worker.close()
            rounds[case].append({key: median(runs, key) for key in ("cpu", "wall", "peak_gb")})
    base = {"train": "pytorch float32", "inference": "pytorch float32 inference"}
    print(f"{'':28} CPU s  wall s  peak GB  CPU / PyTorch float32, by round")
    for case, mode in CASES.items():
        if case not in rounds:
            continue
        cpu, wall, peak = (statistics.median(r[key] for r in rounds[case]) for key in ("cpu", "wall", "peak_gb"))
        pairs = zip(rounds[case], rounds[base[mode]], strict=True) if base[mode] in rounds else []
        ratios = [mine["cpu"] / theirs["cpu"] for mine, theirs in pairs]
        print(f"{case:28} {cpu:5.2f}  {wall:6.2f}  {peak:7.2f}  {', '.join(f'{each:.2f}' for each in ratios)}")
    return None


if __name__ == "__main__":
    main()
