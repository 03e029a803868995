"""On a terminal, one line for the whole run in place of Snakemake's pages about every job.

Snakemake logs events, and a handler of its own prints them. Here that handler gets another in front of it, which keeps the
line, and passes on what is no description of a job: warnings, errors, the failed job's log. With --verbose or --quiet, and in a
pipe or a file, all is printed as ever.
"""

import contextlib
import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import NamedTuple, TextIO

LOGGER = "snakemake.logging"
TOLD_BY_THE_LINE = ("job_info", "job_started", "job_finished", "progress", "shellcmd")
TICK = 1.0  # seconds between looks at the logs
NOTED = "make_mask"  # the rule whose log is for the reader
TAIL = 500  # bytes at the end of a log: more than a line of tqdm


def tell_progress(counts: Mapping[str, int], clocks: str | Path) -> None:
    """Show the line if Snakemake writes to a terminal. counts: jobs of each rule; clocks: folder of what jobs took before."""
    logger = logging.getLogger(LOGGER)
    printers = [handler for handler in logger.handlers if getattr(handler, "name", None) == "DefaultStreamHandler"]
    for printer in printers:
        notes = Notes(printer.stream, alone=counts.get(NOTED) == 1)
        if printer.stream.isatty() and logger.level > logging.DEBUG and sum(counts.values()) > 1:
            logger.removeHandler(printer)
            logger.addHandler(Line(printer, Jobs(counts, earlier(counts, clocks)), notes))
        else:
            logger.addHandler(notes)


def earlier(rules: Mapping[str, int], clocks: str | Path) -> dict[str, float]:
    """Mean seconds that jobs of these rules took in earlier runs, by Snakemake's benchmark files; none for a rule without, or
    whose files are damaged, as a full disk leaves them."""
    found = {}
    for rule in rules:
        seconds = []
        for file in (*Path(clocks).glob(f"{rule}.tsv"), *Path(clocks, rule).rglob("*.tsv")):
            with contextlib.suppress(OSError, ValueError, IndexError):
                seconds.append(float(file.read_text().splitlines()[1].split("\t")[0]))
        if seconds:
            found[rule] = mean(seconds)
    return found


def by_its_log(log: str) -> float | None:
    """Seconds that a job has left by the bar (tqdm) at the end of its log, less those since then; None if it has none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            bars = re.findall(rb"\[[\d:]+<([\d:]+),", file.read())
        age = time.time() - Path(log).stat().st_mtime
    except OSError:
        return None
    if not bars:
        return None
    left = sum(int(part) * 60**power for power, part in enumerate(reversed(bars[-1].split(b":"))))
    return max(0.0, left - age)


class Running(NamedTuple):
    """A job that runs, and when it began."""

    rule: str
    log: str
    since: float


class Jobs:
    """The jobs of a run: waiting, running, done, failed; and how long those of a rule take."""

    def __init__(self, counts: Mapping[str, int], before: Mapping[str, float]) -> None:
        self.waiting, self.before = dict(counts), before
        self.total, self.done, self.most = sum(counts.values()), 0, 1
        self.failed: set[int] = set()
        self.running: dict[int, Running] = {}
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def started(self, job: int, rule: str, log: str, now: float) -> None:
        """A job of a rule begins, or begins again."""
        if rule in self.waiting:
            self.waiting[rule] -= job not in self.failed
            self.failed.discard(job)
            self.running[job] = Running(rule, log, now)
            self.most = max(self.most, len(self.running))

    def ended(self, job: int, now: float, well: bool) -> None:
        """A job ends, well or not."""
        if found := self.running.pop(job, None):
            if well:
                self.done += 1
                self.seconds[found.rule].append(now - found.since)
            else:
                self.failed.add(job)

    def left(self, now: float) -> tuple[float, bool] | None:
        """Seconds until all are done, and whether every job counts in it: jobs of a rule of which nothing is known do not.

        A running job has left what its own log says, else what jobs of its rule take; None if nothing is known of any.
        """
        told = {job: by_its_log(run.log) for job, run in self.running.items()}
        took = {rule: list(seconds) for rule, seconds in self.seconds.items()}
        for job, run in self.running.items():
            if told[job] is not None:
                took.setdefault(run.rule, []).append(now - run.since + told[job])
        takes = {**self.before, **{rule: mean(seconds) for rule, seconds in took.items()}}

        def rest(job: int, run: Running) -> float | None:
            if told[job] is None and run.rule in takes:
                return max(0.0, takes[run.rule] + run.since - now)
            return told[job]

        rests = [rest(*pair) for pair in self.running.items()]
        later = [takes.get(rule) and count * takes[rule] for rule, count in self.waiting.items() if count]
        known = [seconds for seconds in rests + later if seconds is not None]
        longest = max((seconds for seconds in rests if seconds is not None), default=0.0)
        return (max(sum(known) / self.most, longest), len(known) == len(rests + later)) if known else None

    def line(self, now: float) -> str:
        """Where the run stands, as a text."""
        if self.done == self.total:
            return self.counts()
        left = self.left(now)
        text = f"{'about' if left[1] else 'at least'} {duration(left[0])} left" if left else "time left not known yet"
        return f"{self.counts()}, {len(self.running)} running, {text}"

    def counts(self) -> str:
        """How many jobs are done, and have failed."""
        return f"{self.done} of {self.total} jobs done" + (f", {len(self.failed)} failed" if self.failed else "")


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 40 s, 12 min, 3 h 5 min."""
    if seconds < 55:
        return f"{10 * max(1, round(seconds / 10))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Notes(logging.Handler):
    """Prints what jobs say of a picture: what of it is lost and, if it is `alone`, how many of its pixels are trained."""

    def __init__(self, stream: TextIO, alone: bool) -> None:
        super().__init__()
        self.stream, self.alone = stream, alone
        self.logs: dict[int, str] = {}

    def of(self, record: logging.LogRecord) -> str:
        """What the job that this record tells of has said; nothing if it is no such job or has not ended."""
        event = getattr(record, "event", None)
        if event == "job_info" and record.rule_name == NOTED:
            self.logs[record.jobid] = record.log[0]
        log = self.logs.pop(record.job_id, None) if event == "job_finished" else None
        text = Path(log).read_text(encoding="utf-8") if log and Path(log).exists() else ""
        return text if self.alone or text.count("\n") > 1 else ""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        self.stream.write(self.of(record))
        self.stream.flush()


class Line(logging.Handler):
    """Keeps the line below what `printer`, Snakemake's own handler, prints, the notes, and what was made in the end."""

    def __init__(self, printer: logging.StreamHandler, jobs: Jobs, notes: Notes) -> None:
        from tqdm import tqdm

        super().__init__()
        self.printer, self.jobs, self.notes = printer, jobs, notes
        shape = {"bar_format": "{percentage:3.0f}%|{bar:20}| {desc}", "dynamic_ncols": True, "file": printer.stream}
        self.bar = tqdm(total=jobs.total, **shape)
        self.stopped = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Count what the record tells of a job; print it unless the line tells it."""
        event, now = getattr(record, "event", None), time.monotonic()
        if event == "job_info":
            self.jobs.started(record.jobid, record.rule_name, next(iter(record.log or []), ""), now)
        elif event in ("job_finished", "job_error"):
            self.jobs.ended(record.job_id if event == "job_finished" else record.jobid, now, event == "job_finished")
        text = self.notes.of(record)
        if event == "job_info" and record.rule_name not in self.jobs.waiting and record.rule_msg:
            text = f"{record.rule_msg}\n"
        if text:
            self.bar.clear()
            self.printer.stream.write(text)
        if event not in TOLD_BY_THE_LINE and record.msg != "Select jobs to execute...":
            self.bar.clear()
            self.printer.handle(record)
        self._show()

    def _show(self) -> None:
        self.bar.n = self.jobs.done
        self.bar.set_description_str(self.jobs.line(time.monotonic()))

    def _tick(self) -> None:
        while not self.stopped.wait(TICK):
            with self.lock:
                if not self.stopped.is_set():
                    self._show()

    def close(self) -> None:
        """Leave the last line on the screen."""
        if not self.stopped.is_set():
            self.stopped.set()
            self.bar.set_description_str(self.jobs.counts())
            self.bar.close()
            self.printer.close()
        super().close()
