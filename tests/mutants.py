#!/usr/bin/env python3
"""Plants the mutants of tests/mutants.txt one at a time, in a copy of the tree, and says which survive the tests.

    tests/mutants.py [--sample N] [--only TEXT] [--jobs N]

Kernels are tested by the walks (tests/test_kernels.c, tests/test_matmul.c) on the device that runs them, an eighth of their
cases at a time until one catches the mutant; host/core by the tests of the interface as well. A mutant counts as
caught when a comparison fails, a guard page is touched or a test does not end; one that does not build, or whose text is no
longer found, is an error. Kernels of CUDA: tests/cuda_mutants.py.
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
# How a walk is told to take part I of its cases.
WALKS = {
    "test_kernels": lambda part: ["--part", f"{part}/{PARTS}"],
    # so few cases need not be of both kinds: --products
    "test_matmul_amx": lambda part: ["--only", ".amx", "--seed", str(part + 1)],
    "test_matmul": lambda part: ["--cases", "8", "--seed", str(part + 1), "--products", str(10**12)],
}
INVALID = re.compile(r"does not build")
# What runs a file, by its name; the first that matches: tests, with the device of a walk and the level of a cpu.
TESTS = [
    (r"_amx", ["test_matmul_amx cpu"]),
    (r"cpu/cpu_pool", ["test_pool"]),
    (r"host/core/matmul", ["test_matmul_api", "test_matmul cpu avx512"]),
    (r"host/", ["test_api", "test_ref", "test_ref_ops", "test_layout", "test_kernels cpu generic"]),
    (r"opencl/(matmul|product|acts|pack)", ["test_matmul opencl:0"]),
    (r"opencl/", ["test_kernels opencl:0"]),
    (r"cpu/matmul\.[ch]", ["test_matmul cpu generic"]),
    (r"cpu/matmul_(simd|direct_512|avx512|vnni|bf16)", ["test_matmul cpu bf16"]),
    (r"cpu/(matmul|acts|pack|panel)", ["test_matmul cpu avx2"]),
    (r"_avx512", ["test_kernels cpu avx512"]),
    (r"_simd\.h|_avx2", ["test_kernels cpu avx2"]),
    (r"", ["test_kernels cpu generic"]),
]


@dataclasses.dataclass
class Mutant:
    path: str
    why: str
    old: str
    new: str

    def tests(self):
        return next(tests for pattern, tests in TESTS if re.search(pattern, self.path))

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

    def test(self, name, part):
        """Runs a test, of a walk one part."""
        program, *device = name.split()
        env = {"NIBBLE_CACHE_DIR": "off", "NIBBLE_KERNEL_DIR": str(self.source / "kernels")}
        if len(device) > 1:
            env["NIBBLE_CPU"] = device[1]
        arguments = [device[0], *WALKS[program](part)] if program in WALKS else []
        return self.run([self.build / "tests" / program, *arguments], env=env, timeout=150)

    def try_mutant(self, mutant):
        """ "caught", "survived", "skipped: WHY" or "error: WHY". """
        path = self.source / mutant.path
        original = path.read_text()
        planted = mutant.plant(original)
        if planted is None:
            return "error: its text is not found exactly once"
        path.write_text(planted)
        try:
            built = self.compile([name.split()[0] for name in mutant.tests()])
            if built.returncode:
                return f"error: does not build: {built.stdout[-1500:]}"
            return self.judge(mutant)
        except subprocess.TimeoutExpired:
            return "caught"
        finally:
            path.write_text(original)

    def judge(self, mutant):
        runs = [(name, part) for name in mutant.tests() for part in range(PARTS if name.split()[0] in WALKS else 1)]
        for name, part in runs:
            done = self.test(name, part)
            if INVALID.search(done.stdout):
                return f"error: {done.stdout[-1500:]}"
            if done.returncode < 0 or (done.returncode and CAUGHT.search(done.stdout)):
                return "caught"
            if done.returncode:
                return f"error: exit status {done.returncode}: {done.stdout[-1500:]}"
        return "survived"

    def missing(self, names):
        """test -> why it cannot run here, of those given; the sources as they are must pass."""
        reasons = {}
        self.compile([name.split()[0] for name in names], check=True)
        for name in names:
            done = self.test(name, 0)
            if done.returncode == 77:
                reasons[name] = f"{name} cannot run here"
            elif done.returncode:
                sys.exit(f"mutants: the unchanged sources fail {name}:\n{done.stdout[-3000:]}")
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
    reasons = first.missing(sorted({name for m in mutants for name in m.tests()}))
    trees.put(first)
    for index in range(1, options.jobs):
        trees.put(Tree(index))
    counts = {"caught": 0, "survived": 0, "skipped": 0, "error": 0}

    def one(mutant):
        without = [reasons[name] for name in mutant.tests() if name in reasons]
        if without:
            return mutant, f"skipped: {without[0]}"
        tree = trees.get()
        try:
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
