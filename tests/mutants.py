#!/usr/bin/env python3
"""Plants the mutants of tests/mutants.txt one at a time, in a copy of the tree, and says which survive the tests.

    tests/mutants.py [--sample N] [--only TEXT] [--jobs N] [--keep-going]

Kernels are tested by the walk (tests/test_kernels.c) on the device that runs them, an eighth of its cases at a time until
one catches the mutant; host/core by the tests of the interface as well, kernels on AMX tiles by the walk of the matmuls on
emulated tiles, a seed at a time. A mutant counts as caught when a comparison fails,
a guard page is touched or a test does not end; one that does not build, or whose text is no longer found, is an error.
--sample N takes N of them, evenly spread; --only those whose file or description holds TEXT. Exit status 1 if any
survived or was in error.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutants"
PARTS = 8
CAUGHT = re.compile(r"bytes differ|bytes written outside|changed its input|failed: ")
INVALID = re.compile(r"does not build")
# By the end of a file's name, what runs it; the first that matches. host/core: these tests too.
DEVICES = [
    ("_amx", "tiles"),
    ("_avx512", "cpu avx512"),
    ("_simd.h", "cpu avx2"),
    ("_avx2", "cpu avx2"),
    ("kernels/opencl/", "opencl:0"),
    ("kernels/cuda/", "cuda:0"),
    ("", "cpu generic"),
]
HOST_TESTS = ["test_api", "test_ref", "test_ref_ops", "test_layout"]


@dataclasses.dataclass
class Mutant:
    path: str
    why: str
    old: str
    new: str

    def device(self):
        return next(device for mark, device in DEVICES if mark in self.path)

    def in_opencl(self):
        return self.path.startswith("kernels/opencl/")

    def plant(self, text):
        """The text with the mutant in it; None where its place is not found exactly once."""
        pattern = r"\s+".join(re.escape(word) for word in self.old.split())
        changed, count = re.subn(pattern, lambda _: self.new, text)
        return changed if count == 1 else None


def read_mutants(name="mutants.txt"):
    mutants = []
    for stanza in re.split(r"\n\s*\n", (ROOT / "tests" / name).read_text()):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        path, why = lines[0].split(": ", 1)
        old = " ".join(line[2:] for line in lines[1:] if line.startswith("-"))
        new = " ".join(line[2:] for line in lines[1:] if line.startswith("+"))
        mutants.append(Mutant(path, why, old, new))
    return mutants


def program(device):
    return "test_matmul_amx" if device == "tiles" else "test_kernels"


class Tree:
    """A copy of the sources with a build of its own."""

    def __init__(self, index):
        self.source = WORK / f"tree{index}"
        self.build = WORK / f"build{index}"
        self.update()
        self.run(["cmake", "-S", self.source, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DNIBBLE_CUDA=OFF"], check=True)

    def update(self):
        """Makes the copy what the tree is; files that are already so keep their times, for the build's sake."""
        names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True,
                               capture_output=True).stdout.decode().split("\0")
        wanted = {n for n in names if n and not n.startswith("tests/golden/") and (ROOT / n).is_file()}
        for path in [p for p in self.source.rglob("*") if p.is_file()]:
            if str(path.relative_to(self.source)) not in wanted:
                path.unlink()
        for name in wanted:
            target = self.source / name
            if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)

    def run(self, command, env=None, timeout=600, check=False):
        done = subprocess.run(["nice"] + [str(c) for c in command], env={**os.environ, **(env or {})}, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              cwd=self.source, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            sys.exit(f"mutants: {' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}")
        return done

    def compile(self, targets, check=False):
        return self.run(["cmake", "--build", self.build, "-j", "1", "--target", *targets], check=check)

    def environment(self, device):
        env = {"NIBBLE_CACHE_DIR": "off"}
        if device.startswith("cpu"):
            env["NIBBLE_CPU"] = device.split()[1]
        if device.startswith("opencl"):
            env["NIBBLE_KERNEL_DIR"] = str(self.source / "kernels")
        if device.startswith("cuda"):
            env["NIBBLE_CUDA_DRIVER"] = str(self.build / "tests" / "libcuda_host.so")
        return env

    def walk(self, device, part):
        if device == "tiles":
            return self.run([self.build / "tests" / "test_matmul_amx", "cpu", "--only", ".amx", "--seed", part + 1])
        return self.run([self.build / "tests" / "test_kernels", device.split()[0], "--part", f"{part}/{PARTS}"],
                        env=self.environment(device), timeout=300)

    def try_mutant(self, mutant):
        """ "caught", "survived", "skipped: WHY" or "error: WHY". """
        path = self.source / mutant.path
        original = path.read_text()
        planted = mutant.plant(original)
        if planted is None:
            return "error: its text is not found exactly once"
        host = mutant.path.startswith("host/")
        path.write_text(planted)
        try:
            if not mutant.in_opencl():
                targets = [program(mutant.device())] + (HOST_TESTS if host else [])
                targets += ["cuda_host"] if mutant.path.startswith("kernels/cuda/") else []
                built = self.compile(targets)
                if built.returncode:
                    return f"error: does not build: {built.stdout[-1500:]}"
            return self.judge(mutant, host)
        except subprocess.TimeoutExpired:
            return "caught"
        finally:
            path.write_text(original)

    def judge(self, mutant, host):
        runs = [lambda t=t: self.run([self.build / "tests" / t]) for t in HOST_TESTS] if host else []
        runs += [lambda p=p: self.walk(mutant.device(), p) for p in range(PARTS)]
        for run in runs:
            done = run()
            if INVALID.search(done.stdout):
                return f"error: {done.stdout[-1500:]}"
            if done.returncode < 0 or (done.returncode and CAUGHT.search(done.stdout)):
                return "caught"
            if done.returncode:
                return f"error: exit status {done.returncode}: {done.stdout[-1500:]}"
        return "survived"

    def missing(self, devices):
        """device -> why it cannot test, of those given; the sources as they are must pass."""
        reasons = {}
        for device in devices:
            if device.startswith("cuda"):
                self.compile(["cuda_host"], check=True)
            self.compile([program(device)], check=True)
            done = self.walk(device, 0)
            if done.returncode == 77:
                reasons[device] = f"no {device} here"
            elif done.returncode:
                sys.exit(f"mutants: the unchanged sources fail on {device}:\n{done.stdout[-3000:]}")
        return reasons


def choose(options):
    mutants = read_mutants()
    if options.only:
        mutants = [m for m in mutants if options.only in f"{m.path}: {m.why}"]
    if options.sample and options.sample < len(mutants):
        mutants = [mutants[i * len(mutants) // options.sample] for i in range(options.sample)]
    return mutants


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--only")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    mutants = choose(options)
    started = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    trees = queue.Queue()
    first = Tree(0)
    first.compile(["test_kernels"], check=True)
    reasons = first.missing(sorted({m.device() for m in mutants}))
    trees.put(first)
    for index in range(1, options.jobs):
        trees.put(Tree(index))
    counts = {"caught": 0, "survived": 0, "skipped": 0, "error": 0}

    def one(mutant):
        if mutant.device() in reasons:
            return mutant, f"skipped: {reasons[mutant.device()]}"
        tree = trees.get()
        try:
            if not (tree.build / "tests" / "test_kernels").exists():
                tree.compile(["test_kernels"], check=True)
            return mutant, tree.try_mutant(mutant)
        finally:
            trees.put(tree)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant, verdict in pool.map(one, mutants):
            counts[verdict.split(":")[0]] += 1
            print(f"{verdict.upper() if verdict[0] in 'se' and verdict[1] in 'ur' else verdict}: "
                  f"{mutant.path}: {mutant.why}", flush=True)
    print(f"{len(mutants)} mutants in {time.monotonic() - started:.0f} s, {counts['survived']} survived, "
          f"{counts['error']} in error")
    print(f"{counts['caught']} passed, {counts['survived'] + counts['error']} failed, {counts['skipped']} skipped")
    return 1 if counts["survived"] or counts["error"] or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
