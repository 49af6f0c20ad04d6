"""
What the catalogue costs a process that starts: the time and the memory to load it, and a look at one provider.

Each load is the first of a fresh process. `x` is how many times as long it takes as the standard library's `tomllib`
alone needs to parse the same files. While there are fewer than 270 built-in files, copies under other slugs fill up.

    make bench
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = 270
PROCESSES = 5
LOOKS = 100_000
MOST_MILLISECONDS, MOST_MEBIBYTES = 150, 30
MEBIBYTE = 1_048_576


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = fill(Path(folder))
        runs = [measured(folder) for _ in range(PROCESSES)]
    load, tomllib, memory, look = (
        statistics.median(run[name] for run in runs) for name in ("load", "tomllib", "memory", "look")
    )
    [count] = {int(run["providers"]) for run in runs}
    what = f"loading {count} providers" + (f", {made} of them copies" if made else "")
    says = f"{load * 1000:.0f} ms of processor, {memory / MEBIBYTE:.1f} MiB; tomllib alone {tomllib * 1000:.0f} ms"
    print(f"{what:40} {load / tomllib:6.1f} x   {says}", flush=True)
    print(f"{'looking one up':40} {'':8}   {look * 1e9:.0f} ns", flush=True)
    if load * 1000 > MOST_MILLISECONDS or memory / MEBIBYTE > MOST_MEBIBYTES:
        sys.exit(f"More than {MOST_MILLISECONDS} ms or {MOST_MEBIBYTES} MiB.")


def fill(folder: Path) -> int:
    """Copies of the built-in files in `folder`, so that there are enough of them in all; returns how many."""
    built_in = sorted((Path(__file__).parent.parent / "providers" / "catalogue").glob("*.toml"))
    for number in range(missing := max(0, FILES - len(built_in))):
        original = built_in[number % len(built_in)]
        slug = f"{original.stem}-copy-{number}"
        text = re.sub(r"^(slug = ).*$", rf'\1"{slug}"', original.read_text(), count=1, flags=re.MULTILINE)
        text = re.sub(r"^aliases = .*\n", "", text, flags=re.MULTILINE)
        text = text.replace(f"[kinds.{original.stem.replace('-', '_')}_", f"[kinds.{slug.replace('-', '_')}_")
        (folder / f"{slug}.toml").write_text(text)
    return missing


def measured(folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.catalogue", folder]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if ended.returncode:
        sys.exit(f"The catalogue could not be loaded: {ended.stderr.strip().splitlines()[-1]}")
    answer: dict[str, float] = json.loads(ended.stdout)
    return answer


def measure(folder: str) -> dict[str, float]:
    """In a process that has loaded nothing yet: seconds of processor time, and bytes."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings

    settings.PROVIDERS_DIR = folder
    import psutil

    from providers import catalogue

    process = psutil.Process()
    before, started = process.memory_info().rss, time.process_time()
    providers = catalogue.load()
    load, memory = time.process_time() - started, process.memory_info().rss - before

    slugs = list(providers)
    started = time.process_time()
    for number in range(LOOKS):
        catalogue.get(slugs[number % len(slugs)])
    look = (time.process_time() - started) / LOOKS
    return {"providers": len(providers), "load": load, "memory": memory, "look": look, "tomllib": parsed_by_tomllib()}


def parsed_by_tomllib() -> float:
    import tomllib

    from providers import catalogue

    started = time.process_time()
    for path in catalogue.files():
        tomllib.loads(path.read_text(encoding="utf-8"))
    return time.process_time() - started


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
