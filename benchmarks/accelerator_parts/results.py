"""The file of the results: rows of parts, with the environment beside."""

import json
import math
import os
import subprocess

import jax

from unspool._describe import environment


class Results:
    """What was measured, in memory and in `accelerator.json`."""

    def __init__(self, path, contents):
        self._path = path
        self._contents = contents

    @classmethod
    def open(cls, settings, *, resume):
        """A new file, or with `resume` the one that is there, if it is of the same device."""
        path = settings.out / "accelerator.json"
        contents = {"environment": find_environment(), "small": settings.small}
        contents |= {"seconds": {}, "parts": {}}
        if resume and path.exists():
            before = json.loads(path.read_text())
            for key in ("device", "jax"):
                here, there = (x["environment"][key] for x in (contents, before))
                if here != there:
                    raise SystemExit(
                        f"{path} has results of the {key} {there}, and this is {here}: name "
                        "another folder with --out, or leave --resume away."
                    )
            if before["small"] != settings.small:
                raise SystemExit(f"{path} was made {'with' if before['small'] else 'without'} "
                                 "--small: name another folder with --out.")  # fmt: skip
            contents = before
        path.parent.mkdir(parents=True, exist_ok=True)
        results = cls(path, contents)
        results._write()
        return results

    def rows(self, part):
        """The rows of a part that are there, by name."""
        return dict(self._contents["parts"].get(part, {}))

    def save(self, part, name, row):
        self._contents["parts"].setdefault(part, {})[name] = row
        self._write()

    def add_seconds(self, part, seconds):
        spent = self._contents["seconds"]
        spent[part] = spent.get(part, 0.0) + seconds
        self._write()

    def read(self):
        """What the file says, which is whole at any time."""
        return json.loads(self._path.read_text())

    def _write(self):
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text(json.dumps(finite(self._contents), indent=1) + "\n")
        os.replace(partial, self._path)


def finite(value):
    """The same with null for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def find_environment():
    """What the numbers depend on; what the machine does not say is null."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return environment() | {
        "platform": device.platform,
        "devices": jax.device_count(),
        "runtime": device.client.platform_version,
        "driver": find_driver(),
        "memory_bytes": stats.get("bytes_limit"),
        "xla_flags": os.environ.get("XLA_FLAGS"),
        "compilation_cache": jax.config.jax_compilation_cache_dir,
    }


def find_driver():
    """The version of NVIDIA's driver, if there is one that says so."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.split()), None)
