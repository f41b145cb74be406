#!/usr/bin/env python3
"""What ./check prints at its end.

summarize.py DIR reads, for every ctest run, DIR/RUN.xml (its JUnit report) and DIR/RUN.json (its list of
tests with labels), and DIR/steps.tsv: one line "status<TAB>step<TAB>reason" for whatever is not a ctest run.
A test is a ctest entry or a step; a check is one comparison inside a test. The last line counts tests.
Exit status 0 if nothing failed and something passed.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

CLOSING = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
REASON = re.compile(r"^skipped: (.*)$", re.M)


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = self.checks = 0

    def add(self, status, checks=0):
        setattr(self, status, getattr(self, status) + 1)
        self.checks += checks

    def row(self, name):
        return f"  {name:<28}{self.passed:>7}{self.failed:>8}{self.skipped:>9}{self.checks:>13,}"


def labels_of(path):
    """The labels of each test of a run."""
    labels = {}
    for test in json.loads(path.read_text())["tests"]:
        for prop in test.get("properties", []):
            if prop["name"] == "LABELS":
                labels[test["name"]] = prop["value"]
    return labels


def status_of(case):
    if case.get("status") == "run":
        return "passed"
    skipped = case.find("skipped")
    return "skipped" if skipped is not None and "SKIP" in skipped.get("message", "") else "failed"


def read_run(path, rows, reasons, failures):
    """Counts one ctest run by label into rows["RUN: label"]."""
    run = path.stem
    labels = labels_of(path.with_suffix(".json"))
    for case in xml.parse(path).getroot().iter("testcase"):
        name, status = case.get("name"), status_of(case)
        text = case.findtext("system-out") or ""
        closing = CLOSING.findall(text)
        checks = int(closing[-1][0]) if closing else 0
        for label in labels.get(name) or ["other"]:
            rows.setdefault(f"{run}: {label}", Count()).add(status, checks)
        rows["total"].add(status, checks)
        found = REASON.findall(text)
        if status == "skipped" and not found:
            found = [f"{name}: no reason given"]
        for reason in found:
            reasons.setdefault(reason, set()).add(run)
        if status == "failed":
            failures.append(f"{run}: {name}")


def read_steps(path, rows, reasons, failures):
    for line in path.read_text().splitlines():
        status, step, reason = line.split("\t")
        log = path.parent / f"{step.replace(' ', '-')}.log"
        closing = CLOSING.findall(log.read_text(errors="replace")) if log.exists() else []
        checks = int(closing[-1][0]) if closing else 0
        rows.setdefault("steps", Count()).add(status, checks)
        rows["total"].add(status, checks)
        if status == "skipped":
            reasons.setdefault(f"{step}: {reason}", set())
        if status == "failed":
            failures.append(f"{step}: {reason}")


def main():
    folder = pathlib.Path(sys.argv[1])
    rows, reasons, failures = {"total": Count()}, {}, []
    for path in sorted(folder.glob("*.xml"), key=lambda p: p.stat().st_mtime):
        read_run(path, rows, reasons, failures)
    read_steps(folder / "steps.tsv", rows, reasons, failures)
    total = rows.pop("total")
    print(f"\n  {'tests':<28}{'passed':>7}{'failed':>8}{'skipped':>9}{'checks':>13}")
    for name, count in rows.items():
        print(count.row(name))
    for reason, runs in sorted(reasons.items()):
        print(f"skipped: {reason}" + (f" ({', '.join(sorted(runs))})" if runs else ""))
    for failure in failures:
        print(f"failed: {failure}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
