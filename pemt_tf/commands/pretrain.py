"""`pemt pretrain`: training without labels."""

from __future__ import annotations

from pemt_tf.commands.arguments import add_command, add_config, add_training, initial_of, say, with_keep


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "pretrain",
        _run,
        "pretrain without labels",
        """pemt pretrain --data out/records --preset tiny --output out/pretrained
  pemt pretrain --data out/records --preset avbert_base --output out/large --keep 3 \\
      --set pretrain.accumulation=8 --set pretrain.precision=mixed_bfloat16 --set pretrain.clip_norm=1
  pemt pretrain --data more/records --init out/pretrained --output out/further

The same command goes on with a run that was stopped, and with a larger --set pretrain.steps=N with a finished one.
All fields: docs/training.md""",
    )
    add_training(command)
    command.add_argument("--init", help="run, or output of `pemt convert`, whose backbone to start from")
    add_config(command, None)


def _run(options) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.training.pretrain import pretrain
    from pemt_tf.training.strategy import use_cpu_devices

    use_cpu_devices(options.cpu_devices)
    source = ClipSource.open(options.data)
    initial, config = initial_of(with_keep(options, "pretrain"))
    run = pretrain(config, source, options.output, initial=initial)
    say(f"pretrained model: {run.path}")
