"""Reports of wrong answers, which the web service keeps where MARSERVE_FEEDBACK_DIR is set: count, export, delete.

Without an action it counts them. --export writes a table (.csv or .jsonl), or, into a new folder, the pictures with a
subfolder for each right class, as --calibration and training programs take them. Reports are the word of whoever sent
them: look at the pictures before you train with them.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marserve.arguments import UsageError, folder, real
from marserve.errors import MarserveError
from marserve.paths import absolute
from marserve.terminal import complain, say

if TYPE_CHECKING:
    from marserve.web.feedback import Report, ReportedClass

NEEDS = "client"
EPILOG = """examples:
  marserve feedback
      how many there are, and which classes are taken for which
  marserve feedback --export reports.csv
  marserve feedback --export corrected --model resnet18
      then --calibration corrected, or a training program
  marserve feedback --delete-older-than 90 --yes
      for a daily job: nothing is kept for longer than 90 days

exit status: 0 done; 1 it failed; 2 wrong arguments, or a deletion that needs --yes"""

#: Of the mistakes that are reported most, so many are shown.
MOST_SHOWN = 10
#: With which a spreadsheet takes a cell for a formula.
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir", type=folder, metavar="DIR", help="the folder of reports (default: variable MARSERVE_FEEDBACK_DIR)"
    )
    parser.add_argument("--model", metavar="NAME", help="only reports about this model")
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--export", metavar="TARGET", type=absolute, help="a file, by its name CSV or JSON lines, or a new folder"
    )
    action.add_argument("--delete", metavar="ID", nargs="+", help="these reports, by the ids that callers were told")
    action.add_argument(
        "--delete-older-than", metavar="DAYS", type=real(0, 36500), help="reports from before that; 0 is all of them"
    )
    parser.add_argument("--yes", action="store_true", help="confirm a deletion")


def run(options: argparse.Namespace) -> int:
    from marserve.web.feedback import Feedback

    given = options.dir or os.environ.get("MARSERVE_FEEDBACK_DIR")
    if not given:
        raise UsageError("there is no folder of reports: give --dir, or set MARSERVE_FEEDBACK_DIR as for serve")
    if not Path(given).is_dir():
        raise MarserveError(f"There is no folder {given}: nothing has been reported yet, or it is another one.")
    store = Feedback(Path(given))
    reports = [report for report in store.read() if options.model in (None, report.model)]
    if options.delete or options.delete_older_than is not None:
        return _delete(options, store, reports)
    if options.export is None:
        _count(store.folder, reports)
    elif options.export.suffix.lower() in (".csv", ".jsonl"):
        _write_table(options.export, reports)
    else:
        _copy_pictures(options.export, store.folder, reports)
    return 0


def _count(folder_of_reports: Path, reports: list[Report]) -> None:
    say(f"{folder_of_reports}: {_many(len(reports), 'report')}")
    mistakes = Counter(
        (report.model, report.predicted.label, report.right.label if report.right else "none of its classes")
        for report in reports
    )
    for (model, predicted, right), count in mistakes.most_common(MOST_SHOWN):
        say(f"{count:6}  {model}: {_shown(predicted)} is {_shown(right)}")
    if len(mistakes) > MOST_SHOWN:
        say(f"        and {len(mistakes) - MOST_SHOWN} other mistakes; --export FILE.csv has all")


def _write_table(file: Path, reports: list[Report]) -> None:
    import csv
    import io

    from marserve.system.files import replace_text

    if file.suffix.lower() == ".jsonl":
        text = "".join(report.line().decode() for report in reports)
    else:
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_cell(value) for value in _row(report)] for report in reports)
        text = table.getvalue()
    replace_text(file, text)
    say(f"{_many(len(reports), 'report')} in {file}")


COLUMNS = (
    *("id", "time", "request_id", "model", "version", "weights"),
    *("predicted_class_id", "predicted_wnid", "predicted_label", "predicted_probability"),
    *("right_class_id", "right_wnid", "right_label", "right_probability"),
    *("other", "note", "picture", "picture_sha256", "picture_bytes"),
)


def _row(report: Report) -> list[object]:
    return [
        *(report.id, report.time, report.request_id, report.model, report.version, report.weights),
        *_cells(report.predicted),
        *_cells(report.right),
        *(report.other, report.note, report.picture, report.picture_sha256, report.picture_bytes),
    ]


def _cells(named: ReportedClass | None) -> tuple[object, ...]:
    return ("", "", "", "") if named is None else (named.class_id, named.wnid, named.label, named.probability)


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_BEGINS) else value


def _copy_pictures(target: Path, source: Path, reports: list[Report]) -> None:
    """A picture that has been called two things is left out: only a person can say which is right."""
    import shutil

    from marserve.web.feedback import class_folder

    models = sorted({report.model for report in reports})
    if len(models) > 1:
        raise UsageError(f"there are reports about {', '.join(models)}, whose classes differ: choose with --model")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"--export {target}: give a new folder, or a file that ends in .csv or .jsonl")
    folders: dict[str, set[str]] = {}
    for report in reports:
        folders.setdefault(report.picture_sha256, set()).add(class_folder(report.right) if report.right else "")
    copied = contested = unlabelled = gone = 0
    done: set[str] = set()
    for report in reports:
        if report.picture_sha256 in done:
            continue
        done.add(report.picture_sha256)
        if len(folders[report.picture_sha256]) > 1:
            contested += 1
        elif report.right is None:
            unlabelled += 1
        elif not (picture := source / report.picture).is_file():
            gone += 1
        else:
            into = target / class_folder(report.right)
            into.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, into / picture.name)
            copied += 1
    say(f"{_many(copied, 'picture')} in {target}")
    for count, why in (
        (contested, "left out, since reports name different classes"),
        (unlabelled, "left out: of none of the model's classes"),
        (gone, "gone from the folder of reports"),
    ):
        if count:
            complain(f"{_many(count, 'picture')} {why}")


def _delete(options: argparse.Namespace, store: Any, reports: list[Report]) -> int:
    from datetime import datetime, timedelta, timezone

    from marserve.manage.change import always_yes, confirm_on_terminal

    if options.delete:
        unknown = set(options.delete) - {report.id for report in reports}
        if unknown:
            raise MarserveError(f"There is no report {', '.join(sorted(unknown))}; nothing was deleted.")
        chosen = set(options.delete)
    else:
        before = datetime.now(timezone.utc) - timedelta(days=options.delete_older_than)
        chosen = {report.id for report in reports if datetime.fromisoformat(report.time) <= before}
    if not chosen:
        say("There is nothing to delete.")
        return 0
    (always_yes if options.yes else confirm_on_terminal)(f"Delete {_many(len(chosen), 'report')} for good?")
    deleted = store.delete(lambda report: report.id in chosen)
    say(f"{_many(deleted, 'report')} deleted")
    return 0


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
