#!/usr/bin/env python3
"""Plants the mutants of tests/cuda_mutants.txt in the CUDA kernels and says which survive the walk on the emulator.

    tests/cuda_mutants.py [--build DIR] [--jobs N] [--only TEXT]

By hand, after a build with CUDA kernels (--build, default build/release): test_kernels of that build, or test_matmul for the
kernels of matmuls, runs over a stand-in driver with the mutant in it, a part of its cases at a time until one catches it. Caught is: other bytes, bytes
outside the output, a rule of the machine broken, a crash, or no end within two minutes. A mutant that is marked equivalent
must survive. Exit status 1 if any other survived or could not be planted.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import mutants  # noqa: E402

PARTS = 20
CAUGHT = re.compile(r"bytes differ|bytes written outside|changed its input|cuda-host: |failed: (?!.*never ran)")
MATMUL = re.compile(r"matmul|warp_tile|acts|pack")
HEADERS = {"device.cuh": "", "block.cuh": "blocks", "block_quantize.cuh": "blocks_", "matmul.cuh": "matmul|pack", "warp_tile.cuh": "matmul_small|matmul_tiles"}
FLAGS = ["-O1", "-g1", "-std=c++17", "-fPIC", "-w", "-ffp-contract=off", "-fno-strict-aliasing", "-xc++"]


class Bench:
    """A copy of the kernels and the emulator's objects, which mutants share."""

    def __init__(self, build, cuda):
        self.walker = build / "tests" / "test_kernels"
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="nibble-cuda-mutants-"))
        self.cuda = cuda
        host = ROOT / "tests" / "cuda_on_host"
        self.objects = {p: self.work / (p.stem + ".o") for p in [*host.glob("*.cpp"), *host.glob("emulator/*.cpp")]}
        kernels = sorted((ROOT / "kernels" / "cuda").glob("*.cu"))
        self.kernels = {p: self.work / (p.stem + ".cu.o") for p in kernels}

    def compile(self, source, target):
        done = subprocess.run(["g++", *FLAGS, f"-I{ROOT / 'tests/cuda_on_host'}", "-isystem", self.cuda, "-c",
                               source, "-o", target], capture_output=True, text=True)
        return done.stderr if done.returncode else None

    def link(self, objects, library):
        subprocess.run(["g++", "-shared", "-o", library, *objects, "-ldl", "-lpthread"], check=True)

    def prepare(self, jobs):
        sources = {**self.objects, **self.kernels}
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            errors = [e for e in pool.map(lambda s: self.compile(s, sources[s]), sources) if e]
        if errors:
            sys.exit(errors[0])
        self.link(sources.values(), self.work / "libcuda_host.so")

    def walk(self, library, part, path=""):
        if MATMUL.search(path):
            walker = [self.walker.with_name("test_matmul"), "cuda:0", "--cases", "8", "--seed", str(part + 1)]
        else:
            walker = [self.walker, "cuda:0", "--part", f"{part}/{PARTS}", "--elements", "20000"]
        env = {**os.environ, "NIBBLE_CUDA_DRIVER": str(library)}
        done = subprocess.run(walker, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=120)
        return done

    def judge(self, library, path):
        for part in range(4 if MATMUL.search(path) else PARTS):
            try:
                done = self.walk(library, part, path)
            except subprocess.TimeoutExpired:
                return "caught", f"part {part}: no end"
            found = CAUGHT.search(done.stdout)
            if found or done.returncode < 0:
                line = next((l for l in done.stdout.splitlines() if CAUGHT.search(l)), f"signal {-done.returncode}")
                return "caught", f"part {part}: {line[:150]}"
        return "survived", ""

    def try_mutant(self, number, mutant):
        tree = self.work / f"mutant{number}"
        shutil.copytree(ROOT / "kernels", tree / "kernels")
        (tree / "tests").symlink_to(ROOT / "tests")
        try:
            path = tree / mutant.path
            planted = mutant.plant(path.read_text())
            if planted is None:
                return "error", "its text is not found exactly once"
            path.write_text(planted)
            objects = dict(self.kernels)
            for kernel in self.kernels:
                if path.name == kernel.name or re.search(HEADERS.get(path.name, "^$"), kernel.name):
                    objects[kernel] = tree / (kernel.stem + ".o")
                    failed = self.compile(tree / "kernels" / "cuda" / kernel.name, objects[kernel])
                    if failed:
                        return "error", failed[:500]
            self.link([*self.objects.values(), *objects.values()], tree / "libcuda_host.so")
            return self.judge(tree / "libcuda_host.so", path.name)
        finally:
            shutil.rmtree(tree)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda") + "/include"
    every = [m for m in mutants.read_mutants("cuda_mutants.txt") if options.only in f"{m.path}: {m.why}"]
    bench = Bench(options.build.resolve(), cuda)
    started = time.monotonic()
    bench.prepare(options.jobs)
    done = bench.walk(bench.work / "libcuda_host.so", 0)
    if CAUGHT.search(done.stdout) or "runs  cuda." not in done.stdout:
        sys.exit(f"cuda_mutants: the unchanged kernels fail:\n{done.stdout[-2000:]}")
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        verdicts = pool.map(lambda pair: (pair[1], bench.try_mutant(*pair)), enumerate(every))
        for mutant, (verdict, how) in verdicts:
            expected = "survived" if "(equivalent: " in mutant.why else "caught"
            wrong += verdict != expected
            print(f"{verdict if verdict == expected else verdict.upper()}: {mutant.path}: {mutant.why}: {how}", flush=True)
    shutil.rmtree(bench.work)
    print(f"{len(every)} mutants in {time.monotonic() - started:.0f} s")
    print(f"{len(every) - wrong} passed, {wrong} failed, 0 skipped")
    return 1 if wrong or not every else 0


if __name__ == "__main__":
    sys.exit(main())
