"""Races training steps against PyTorch and writes bench/TRAINING.md.

    bench/training [--rounds N] [--quick]

Every round runs each contestant once, in turns, each in a process of its own, so that what else the machine does meets
all of them. Ratios are those of one round; the table holds their medians. Time of the processor counts all threads; it is
what stays comparable on a machine that does other things too, and is taken with one thread, since PyTorch's threads wait for
each other by spinning.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
STEPS = {"mlp": 200, "resnet-small": 12, "mobilenet-v2": 12}
WHAT = {
    "mlp": "MLP 784-512-256-10, AdamW, batch 128",
    "resnet-small": "small ResNet 28², 32/64/128 channels, SGD with momentum, batch 128",
    "mobilenet-v2": "MobileNet v2, 3 × 48², SGD with momentum, batch 32",
}
ORDERS = {"mlp": ["first"], "resnet-small": ["first", "last"], "mobilenet-v2": ["first", "last"]}
AIMS = {("mlp", "rten"): 0.7, ("mlp", "onnxruntime"): 0.7, ("resnet-small", "rten"): 1.8, ("resnet-small", "onnxruntime"): 1.6}


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def contestants(binary, family, threads, steps):
    rows = {}
    for engine in ["rten", "onnxruntime"]:
        for what in ["kernels", "engine"]:
            rows[f"{engine}, {what}"] = [binary, family, str(threads), str(steps), engine, what, "json"]
    for order in ORDERS[family]:
        script = str(HERE / "training.py")
        rows[f"PyTorch, channels {order}"] = [sys.executable, script, family, str(threads), str(steps), order, "json"]
    return rows


def race(binary, family, threads, rounds, steps):
    found = {}
    rows = contestants(binary, family, threads, steps)
    for number in range(rounds):
        # Turned around every second time, so that none always follows the same one.
        for name in sorted(rows, reverse=bool(number % 2)):
            found.setdefault(name, []).append(run(rows[name]))
            print(f"{family}, {threads} thread(s), round {number + 1}: {name} {found[name][-1]}", file=sys.stderr)
    return found


def median(found, name, key):
    return statistics.median(row[key] for row in found[name])


def ratio(found, name, key, other="PyTorch, channels first"):
    return statistics.median(a[key] / b[key] for a, b in zip(found[name], found[other]))


def table(both, one, family):
    head = ["ms a step, 2 threads", "ratio"] if both else []
    head += ["processor's ms, 1 thread", "ratio", "peak MB", "ratio", "aim"]
    lines = [f"## {WHAT[family]}", "", f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name in one:
        engine = name.split(",")[0]
        aim = AIMS.get((family, engine)) if name.endswith("kernels") else None
        held = both or one
        cells = [f"{median(both, name, 'ms'):.1f}", f"{ratio(both, name, 'ms'):.2f}"] if both else []
        cells += [f"{median(one, name, 'processor_ms'):.1f}", f"{ratio(one, name, 'processor_ms'):.2f}"]
        cells += [f"{median(held, name, 'peak_kb') / 1024:.0f}", f"{ratio(held, name, 'peak_kb'):.2f}", str(aim or "")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines + [""]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a third of the steps: figures of a check, not of a race")
    parser.add_argument("--one-thread", action="store_true", help="leave out two threads: on a machine that others use")
    parser.add_argument("-o", default=str(HERE / "TRAINING.md"))
    arguments = parser.parse_args()
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    lines = [
        "# Training steps beside PyTorch",
        "",
        "Written by `bench/training`. A step is forward, loss, derivatives and optimizer on one batch that stays the same;",
        "`bench/training.py` builds in PyTorch what `pellucid new` builds. *kernels* is what `train` does: convolutions, their",
        "derivatives and chains of element-wise operators in the runtime's kernels, the rest on the engine; *engine* leaves",
        "everything to the engine. Ratios are medians of ratios to PyTorch, channels first, in the same round.",
        "",
        f"{datetime.date.today()}, {platform.machine()}, {model}, {os.cpu_count()} processors, {arguments.rounds} rounds,",
        f"load average {load:.1f} at the start. Where that is far above 0, times with two threads say little, least of all",
        "PyTorch's, whose threads spin; the processor's time is what to read.",
        "",
    ]
    for family, steps in STEPS.items():
        steps = max(2, steps // 3) if arguments.quick else steps
        both = None if arguments.one_thread else race(arguments.binary, family, 2, arguments.rounds, steps)
        one = race(arguments.binary, family, 1, arguments.rounds, steps)
        lines += table(both, one, family)
        pathlib.Path(arguments.o).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
