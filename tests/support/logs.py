"""What loggers have written, read back by the packages' own readers: points of each curve."""

import json
import struct
from collections import defaultdict
from pathlib import Path

Curves = dict[str, list[tuple[int, float]]]


def curves_of_files(directory: Path, first: int = 1) -> Curves:
    """The curves in a run's own files; the line of update 0 is none of a record."""
    found = defaultdict(list)
    for name, prefix in (("metrics.jsonl", ""), ("evaluation.jsonl", "evaluation/")):
        for line in map(json.loads, (directory / name).read_text().splitlines()):
            update = line.pop("update")
            if prefix or update >= first:
                for key, value in line.items():
                    if isinstance(value, int | float):
                        found[prefix + key].append((update, value))
    return dict(found)


def read_events(directory: Path):
    """TensorBoard's own reader, with everything in it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0})
    return reader.Reload()


def curves_of_events(directory: Path) -> Curves:
    reader = read_events(directory)
    return {
        name: [(event.step, event.value) for event in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


def curves_of_mlflow(client, run) -> Curves:
    history = lambda name: client.get_metric_history(run.info.run_id, name)
    return {
        name: [(metric.step, metric.value) for metric in history(name)] for name in run.data.metrics
    }


def curves_of_wandb(folder: Path) -> Curves:
    found = defaultdict(list)
    for message in read_wandb(folder):
        if message.WhichOneof("record_type") == "history":
            row = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in message.history.item
            }
            for name, value in row.items():
                if name != "update" and not name.startswith("_"):
                    found[name].append((row["update"], value))
    return dict(found)


def read_wandb(folder: Path) -> list:
    """The messages in the files of runs that Weights & Biases has kept offline, in order.

    The package has no reader in Python. Its files are logs as of LevelDB after a header of seven
    bytes: blocks of 32 KiB with chunks, each of which is a whole message, or a part of one. A last
    one that is still being written is left out.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    messages = []
    for file in sorted(folder.glob("offline-run-*/*.wandb")):
        data, place, message = file.read_bytes(), 7, b""
        while place < len(data):
            left = 32768 - place % 32768
            if left < 7:
                place += left
                continue
            if len(data) < place + 7:
                break
            _, length, kind = struct.unpack("<IHB", data[place : place + 7])
            if len(data) < place + 7 + length:
                break
            message += data[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # The whole, or the last part.
                messages.append(Record.FromString(message))
                message = b""
    return messages
