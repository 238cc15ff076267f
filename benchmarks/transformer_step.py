"""Train step and inference of the Transformer: low rank against dense, folded against not, ours against PyTorch.

    python benchmarks/transformer_step.py [--rounds 15]

Batch 32, 10 segments and a summary token per stream, hidden 768, 6 layers, mid fusion, dropout as in training:
the tokens of both streams go through all layers, then joined through all again. Both sides use all cores. What counts
is CPU time; ratios are taken round by round. `--batch 1` shows what folding does for a single clip.
"""

from __future__ import annotations

import sys

from measure import Worker, median, pytorch_python, ratio, read_arguments, serve, take_turns

SIZES = {"hidden": 768, "heads": 12, "intermediate": 3072}
STREAMS = ("visual", "audio", "joint")
SEGMENTS, LAYERS, RANK = 10, 6, 128


def run_ours(kind: str, batch: int) -> None:
    """A worker: `low_rank_train`, `dense_infer`, `folded_infer` and so on."""
    import keras
    import tensorflow as tf

    from pemt_tf.layers.shared_transformer import SharedTransformer
    from pemt_tf.training.optimizers import TorchAdam

    def make(**more):
        low_rank = {} if kind.startswith("dense") else {"rank": RANK, "modalities": STREAMS}
        transformer = SharedTransformer(LAYERS, **SIZES, **low_rank, attention_dropout=0.1, hidden_dropout=0.1, **more)
        transformer.build()
        return transformer

    keras.utils.set_random_seed(0)
    transformer = make()
    if kind.startswith("folded"):
        folded = make(rotation_storage="folded")
        folded.fold_from(transformer)
        transformer = folded
    tokens = {m: tf.random.normal((batch, 1 + SEGMENTS, SIZES["hidden"])) for m in STREAMS[:2]}

    def forward(training):
        matrices = transformer.matrices()
        parts = [transformer(x, modality=m, matrices=matrices, training=training) for m, x in tokens.items()]
        return transformer(tf.concat(parts, axis=1), modality="joint", matrices=matrices, training=training)

    optimizer = TorchAdam(1e-4)
    optimizer.build(transformer.trainable_variables)

    @tf.function
    def step():
        if kind.endswith("infer"):
            return forward(training=False)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(forward(training=True)))
        optimizer.apply(tape.gradient(loss, transformer.trainable_variables), transformer.trainable_variables)
        return loss

    serve(lambda: step().numpy())


def run_pytorch(kind: str, batch: int) -> None:
    """A worker of the other side."""
    import torch
    from pytorch_model import Transformer

    model = Transformer(LAYERS, **SIZES, rank=RANK, low_rank="low_rank" in kind)
    model.train(kind.endswith("train"))
    tokens = [torch.randn(batch, 1 + SEGMENTS, SIZES["hidden"]) for _ in range(2)]
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def forward():
        model.new_step()
        return model(torch.cat([model(x, index) for index, x in enumerate(tokens)], 1), 2)

    def step():
        if kind.endswith("infer"):
            with torch.no_grad():
                return forward()
        optimizer.zero_grad()
        forward().square().mean().backward()
        return optimizer.step()

    serve(step)


def main() -> None:
    """Runs both modes and prints the table."""
    arguments = read_arguments(__doc__, rounds=(15, "runs of each side"), batch=(32, "clips per batch"))
    if arguments.worker:
        name, batch = arguments.worker.split(":")
        side = run_pytorch if name.startswith("pytorch") else run_ours
        return side(name, int(batch))
    other = pytorch_python()
    names = ["low_rank", "dense", "folded"] + (["pytorch_low_rank", "pytorch_dense"] if other else [])
    for mode in ("train", "infer"):
        workers = {
            name: Worker(
                "transformer_step.py",
                f"{name}_{mode}:{arguments.batch}",
                other if name.startswith("pytorch") else sys.executable,
            )
            for name in names
            if mode == "infer" or name != "folded"
        }
        figures = take_turns(workers, arguments.rounds)
        for worker in workers.values():
            worker.close()
        print(f"{mode}, batch {arguments.batch}: CPU seconds, median of {arguments.rounds}; wall seconds")
        for name, runs in figures.items():
            print(f"  {name:18} {median(runs):7.3f}   {median(runs, 'wall'):7.3f}")
        pairs = [("low_rank", "dense"), ("folded", "low_rank")]
        pairs += [("low_rank", "pytorch_low_rank"), ("folded", "pytorch_low_rank"), ("dense", "pytorch_dense")]
        for ours, theirs in pairs:
            if ours in figures and theirs in figures:
                print(f"  {ours} / {theirs}: {ratio(figures[ours], figures[theirs])}")
        print()
    return None


if __name__ == "__main__":
    main()
