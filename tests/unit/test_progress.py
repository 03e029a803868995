"""The line on a terminal: an honest estimate of the time left, nothing that it hides but descriptions of jobs."""

import logging
import os
import pty
import select
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from progress import LOGGER, Jobs, Line, by_its_log, duration, earlier, tell_progress

BAR = "run: {percent}%|###  | 9/12 [00:43<{left}, 20.33update/s, loss 0.48 / 50.94, gap 0.77]"


def write_log(path: Path, left: str, age: float = 0) -> str:
    """A log that ends with tqdm's bar, written so many seconds ago."""
    path.write_text("\r".join(BAR.format(percent=p, left=rest) for p, rest in ((10, "59:00"), (75, left))), encoding="utf-8")
    os.utime(path, (os.stat(path).st_atime, os.stat(path).st_mtime - age))
    return str(path)


@pytest.mark.parametrize(("left", "seconds"), [("00:16", 16), ("02:05", 125), ("1:00:10", 3610)])
def test_a_running_job_has_left_what_its_log_says(left: str, seconds: int, tmp_path: Path) -> None:
    assert by_its_log(write_log(tmp_path / "a.log", left)) == pytest.approx(seconds, abs=2)
    assert by_its_log(write_log(tmp_path / "a.log", left, 6)) == pytest.approx(seconds - 6, abs=2)
    assert by_its_log(write_log(tmp_path / "a.log", left, 1e6)) == 0


@pytest.mark.parametrize("text", [None, "", "no bar", "x: 0%| | 0/9 [00:00<?, ?it/s]"])
def test_a_log_without_a_bar_says_nothing(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "a.log").write_text(text)
    assert by_its_log(str(tmp_path / "a.log")) is None


def test_time_left_comes_from_logs_and_from_jobs_of_the_same_rule(tmp_path: Path) -> None:
    jobs = Jobs({"train": 4, "draw": 1}, {})
    assert jobs.left(0) is None and jobs.line(0) == "0 of 5 jobs done, 0 running, time left not known yet"
    jobs.started(1, "train", write_log(tmp_path / "1.log", "00:40"), 0)
    seconds, whole = jobs.left(60)  # this one has 40 s left and takes 100 s; three more; nothing is known of draw
    assert (seconds, whole) == (pytest.approx(340, abs=3), False)
    jobs.started(2, "train", str(tmp_path / "none.log"), 60)
    assert jobs.left(60)[0] == pytest.approx((40 + 100 + 2 * 100) / 2, abs=3)
    jobs.ended(1, 80, True)
    assert jobs.left(80)[0] == pytest.approx((60 + 2 * 80) / 2)
    jobs.started(3, "draw", "", 80)
    jobs.ended(3, 90, True)
    assert jobs.left(90) == (pytest.approx((50 + 2 * 80) / 2), True)
    assert jobs.line(90) == "2 of 5 jobs done, 1 running, about 2 min left"


def test_the_longest_running_job_counts_whole(tmp_path: Path) -> None:
    jobs = Jobs({"train": 2}, {})
    for job, left in ((1, "10:00"), (2, "00:10")):
        jobs.started(job, "train", write_log(tmp_path / f"{job}.log", left), 0)
    assert jobs.left(5)[0] == pytest.approx(600, abs=3)


def test_a_job_that_is_tried_again_counts_once() -> None:
    jobs = Jobs({"train": 3}, {"train": 10.0})
    jobs.started(1, "train", "", 0)
    jobs.ended(1, 2, False)
    assert jobs.counts() == "0 of 3 jobs done, 1 failed" and jobs.left(2) == (20, True)
    jobs.started(1, "train", "", 2)
    jobs.ended(1, 12, True)
    assert jobs.counts() == "1 of 3 jobs done" and jobs.left(12) == (20, True)


def test_earlier_runs_tell_how_long_a_rule_takes(tmp_path: Path) -> None:
    for file, seconds in (("train/a/b.tsv", 10), ("train/c.tsv", 20), ("score.tsv", 3)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(f"s\th:m:s\n{seconds}.0\t0:00:10\n")
    assert earlier({"train": 1, "score": 1, "draw": 1}, tmp_path) == {"train": 15, "score": 3}


def test_durations_read_as_people_say_them() -> None:
    assert [duration(s) for s in (0, 44, 56, 600, 11_100)] == ["10 s", "40 s", "1 min", "10 min", "3 h 5 min"]


@pytest.fixture
def terminal() -> Iterator[tuple[logging.Logger, int]]:
    """Snakemake's logger with its handler on a pseudo-terminal, and the terminal's other end."""
    logger, (reading, writing) = logging.getLogger(LOGGER), pty.openpty()
    termios.tcsetwinsize(writing, (24, 80))
    before, level = logger.handlers[:], logger.level
    printer = logging.StreamHandler(os.fdopen(writing, "w"))
    printer.name = "DefaultStreamHandler"
    logger.handlers = [printer]
    logger.setLevel(logging.INFO)
    yield logger, reading
    for handler in logger.handlers:
        handler.close()
    logger.handlers = before
    logger.setLevel(level)
    os.close(reading)


def screen(reading: int) -> str:
    """All that was written to the terminal."""
    data = b""
    while select.select([reading], [], [], 0.3)[0]:
        data += os.read(reading, 65536)
    return data.decode()


def run(logger: logging.Logger) -> None:
    """What Snakemake logs of two jobs, of which one fails."""
    logger.info("Select jobs to execute...")
    for job in (1, 2):
        logger.info("PAGE", extra={"event": "job_info", "jobid": job, "rule_name": "train", "log": [], "rule_msg": None})
    logger.info("PAGE", extra={"event": "job_finished", "job_id": 1})
    logger.error("what is wrong", extra={"event": "job_error", "jobid": 2})
    logger.warning("a warning")


def test_on_a_terminal_the_line_stands_in_place_of_descriptions(terminal: tuple[logging.Logger, int]) -> None:
    logger, reading = terminal
    tell_progress({"train": 2}, "nowhere")
    run(logger)
    (line,) = (handler for handler in logger.handlers if isinstance(handler, Line))
    line.close()
    text = screen(reading).replace("\r\n", "\n")
    shown = [part.split("| ")[-1].strip() for part in text.replace("\n", "\r").split("\r")]
    assert "PAGE" not in text and "Select" not in text
    assert "what is wrong" in shown and "a warning" in shown
    assert "0 of 2 jobs done, 2 running, time left not known yet" in shown
    assert [line for line in shown if line][-1] == "1 of 2 jobs done, 1 failed"


@pytest.mark.parametrize(
    ("level", "jobs", "where"), [(logging.DEBUG, 2, "tty"), (logging.INFO, 1, "tty"), (logging.INFO, 2, "file")]
)
def test_with_verbose_for_one_job_and_in_a_file_all_is_printed(
    level: int, jobs: int, where: str, terminal: tuple[logging.Logger, int], tmp_path: Path
) -> None:
    logger, reading = terminal
    logger.setLevel(level)
    with open(tmp_path / "out.txt", "w") as file:
        if where == "file":
            logger.handlers[0].setStream(file)
        tell_progress({"train": jobs}, "nowhere")
        run(logger)
    text = (tmp_path / "out.txt").read_text() if where == "file" else screen(reading)
    assert text.count("PAGE") == 3 and "jobs done" not in text


WHOLE, SHADED = "whole: 68 to train\n", "shaded: has shades, which are lost\nshaded: 9 to train\n"


@pytest.mark.parametrize(("said", "told"), [([WHOLE], WHOLE), ([SHADED], SHADED), ([WHOLE, SHADED], SHADED)])
@pytest.mark.parametrize("shown", ["line", "pages"])
def test_what_is_lost_of_a_picture_is_told_and_what_was_made(
    said: list[str], told: str, shown: str, terminal: tuple[logging.Logger, int], tmp_path: Path
) -> None:
    """Of a single picture also how many pixels are trained."""
    logger, reading = terminal
    logger.setLevel(logging.INFO if shown == "line" else logging.DEBUG)
    tell_progress({"make_mask": len(said), "train": 1}, "nowhere")
    for job, text in enumerate(said):
        (log := tmp_path / f"{job}.log").write_text(text)
        logger.info("", extra={"event": "job_info", "jobid": job, "rule_name": "make_mask", "log": [log], "rule_msg": "Mask"})
        logger.info("", extra={"event": "job_finished", "job_id": job})
    logger.info("", extra={"event": "job_info", "jobid": 8, "rule_name": "all", "log": [], "rule_msg": "Figures: here"})
    text = screen(reading).replace("\r\n", "\n")
    assert told in text and "Mask" not in text and text.count("to train") == 1
    assert ("Figures: here" in text) == (shown == "line")  # else Snakemake prints it


def test_clock_files_that_a_full_disk_left_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "train_plane").mkdir()
    for name, text in {"a": "", "b": "s\n", "c": "s\th\n4.0\t-\n", "d": "s\n-\n", "e": "\0\0"}.items():
        (tmp_path / f"train_plane/{name}.tsv").write_text(text)
    (tmp_path / "make_mask.tsv").write_bytes(b"\xff\n\xff\n")
    assert earlier({"train_plane": 1, "make_mask": 1, "all": 1}, tmp_path) == {"train_plane": 4.0}
