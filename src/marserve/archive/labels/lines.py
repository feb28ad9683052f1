"""Class names in lines of text: one a line, with an index before or after the name, or as a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from marserve.archive.labels.entries import (
    INDEX,
    WNID,
    Entry,
    Found,
    UnsureError,
    in_class_order,
    is_complete,
    plain,
    quoted,
    shown,
)

TABLE_SUFFIXES = {".csv", ".tsv"}
COMMENT = re.compile(r"#(\s|$)")
BULLET = re.compile(r"[-*•]\s+(?P<name>.*)")
#: A quote inside is written twice.
QUOTED = re.compile(r"(?P<quote>[\"'])(?P<name>(?:(?!(?P=quote)).|(?P=quote){2})*)(?P=quote),?")
WNID_AND_NAME = re.compile(r"(?P<wnid>n[0-9]{8})[\s,;:|_-]+(?P<name>.*\S)")
#: How a line carries an index. Where a space alone separates it, it may be a part of the name.
INDEXED = (
    (True, "index and name", re.compile(r"[\"']?(?P<index>[0-9]{1,9})[\"']?\s*(?:[-=]>|[,;:|=\t])\s*(?P<name>.+)")),
    (True, "name and index", re.compile(r"(?P<name>.+?)\s*(?:[-=]>|[,;:|=\t])\s*[\"']?(?P<index>[0-9]{1,9})[\"']?,?")),
    (False, "index and name", re.compile(r"(?P<index>[0-9]{1,9})(?:[.)]\s+|\s+(?:-\s+)?)(?P<name>.+)")),
    (False, "name and index", re.compile(r"(?P<name>.+?)\s+(?P<index>[0-9]{1,9})")),
)
#: Titles of columns, by their letters and digits; the first of these that a table has is taken.
INDEX_TITLES = ("index", "idx", "classindex", "classidx", "classid", "labelid", "categoryid", "id")
#: They may be titles of names as well.
NUMBER_TITLES = (*INDEX_TITLES, "target", "number", "class", "label", "category", "")
NAME_TITLES = (
    *("name", "names", "classname", "classnames", "labelname", "categoryname", "displayname", "label", "labels"),
    *("class", "classes", "category", "species", "synset", "title", "text"),
)


def from_lines(lines: list[Entry], suffix: str) -> Found:
    """``lines`` without blanks at their ends; UnsureError."""
    is_table = suffix in TABLE_SUFFIXES
    commented = [COMMENT.match(line.name) is not None for line in lines]
    comments = sum(commented)
    beside = [any(commented[max(0, row - 1) : row + 2]) for row in range(len(lines))]
    named = [
        line
        for line, is_comment, is_beside in zip(lines, commented, beside, strict=True)
        if not is_comment and (line.name or not is_beside)
    ]
    if not named:
        raise UnsureError("it holds comments alone.")
    for line in named:
        if not line.name:
            raise UnsureError(f"{line.place} is blank; remove it, or write the name that is missing there.")
    if matches := _all_match(WNID_AND_NAME, named):
        wnids = {line.place: match["wnid"] for line, match in zip(named, matches, strict=True)}
        rests = [line._replace(name=_unquoted(line.name)) for line in _without(named, matches)]
        entries, form = _indexed(rests) or Found(rests, "text, one a line")
        found = Found([entry._replace(name=[wnids[entry.place], entry.name]) for entry in entries], form)
    else:
        found = _table(named, is_table=is_table) or _indexed(named) or _plain_lines(named, is_table=is_table)
    note = f", without {comments} comment line{'s' * (comments > 1)}" if comments else ""
    return Found(found.entries, found.form + note)


def _plain_lines(lines: list[Entry], *, is_table: bool) -> Found:
    if matches := _all_match(BULLET, lines):
        lines = _without(lines, matches)
    if is_table or _all_match(QUOTED, lines):
        lines = [line._replace(name=_unquoted(line.name)) for line in lines]
    if is_table and plain(lines[0].name) in NAME_TITLES:
        return Found(lines[1:], f"table with a header, {lines[0].name}")
    return Found(lines, "text, one a line")


def _all_match(pattern: re.Pattern[str], lines: Sequence[Entry]) -> list[re.Match[str]]:
    """The matches of all ``lines``; none where one does not match."""
    matches = [match for line in lines if (match := pattern.fullmatch(line.name))]
    return matches if len(matches) == len(lines) else []


def _without(lines: Sequence[Entry], matches: Sequence[re.Match[str]]) -> list[Entry]:
    """``lines`` with what matched as ``name``."""
    return [line._replace(name=match["name"]) for line, match in zip(lines, matches, strict=True)]


def _indexed(lines: list[Entry]) -> Found | None:
    """Lines such as ``0: cat`` or ``cat 0``; None where the numbers, if there are any, belong to the names."""
    partly: list[list[Entry]] = []
    complete: list[Found] = []
    for separated, form, pattern in INDEXED:
        matches = [(line, match) for line in lines if (match := pattern.fullmatch(line.name))]
        entries = [Entry(line.place, _unquoted(match["name"]), int(match["index"])) for line, match in matches]
        within = [match for _, match in matches if int(match["index"]) <= len(lines)]
        if 2 * len(within) <= len(lines):
            continue
        if not separated and (complete or len({entry.name for entry in entries}) < len(entries)):
            continue  # "1 star", "2 stars", "3 stars"
        titled = len(entries) == len(lines) - 1 and entries[0].place == lines[1].place
        if (titled or len(entries) == len(lines)) and is_complete([entry.class_index for entry in entries]):
            complete.append(Found(entries, f"text with a header, {form}" if titled else f"text, {form}"))
        partly.append(entries)
    if len({tuple(entry.name for entry in in_class_order(found.entries)[0]) for found in complete}) > 1:
        raise UnsureError("both its columns could be the index; write a first line such as index,name above them.")
    if complete or not partly:
        return complete[0] if complete else None
    entries = partly[0]
    fitting = {entry.place for entry in entries}
    for line in lines:
        if line.place not in fitting:
            raise UnsureError(
                f'{line.place} has no class index ("{shown(line.name)}"), and {len(entries)} other lines have one; '
                "give all an index, or none. Where the numbers belong to the names, give a JSON list of names."
            )
    return Found(entries, "text")  # with a gap or a double


def _unquoted(name: str) -> str:
    match = QUOTED.fullmatch(name)
    return match["name"].replace(2 * match["quote"], match["quote"]) if match else name


def _table(lines: list[Entry], *, is_table: bool) -> Found | None:
    """CSV with any usual delimiter. Two columns without a header, and ragged lines, are left to the other forms."""
    if is_table and len(lines) == 1 and any(plain(cell) in NAME_TITLES for cell in re.split(r"[\t;,|]", lines[0].name)):
        raise UnsureError("it has a header alone.")
    for delimiter in "\t;|,":
        try:
            readers = [csv.reader([row.name], delimiter=delimiter, skipinitialspace=True, strict=True) for row in lines]
            rows = [line._replace(name=next(reader)) for line, reader in zip(lines, readers, strict=True)]
        except csv.Error:
            continue
        first, *others = [row.name for row in rows]
        if len(first) == 1 or any(len(cells) != len(first) for cells in others):
            continue
        numbered = any(all(INDEX.fullmatch(cell) for cell in column) for column in zip(*others, strict=True))
        titled = not any(INDEX.fullmatch(cell) for cell in first) and (
            numbered or (is_table and any(plain(cell) in NAME_TITLES for cell in first))
        )
        if titled:
            found = columns(first, rows[1:])
            return Found(found.entries, f"table with a header, {found.form}")
        unquoted_commas = any(f"{delimiter} " in line.name and '"' not in line.name for line in lines)
        if (is_table or (numbered and len(first) > 2)) and not unquoted_commas:
            return Found(columns(None, rows).entries, "table")
    return None


def columns(titles: Sequence[str] | None, rows: Sequence[Entry], *, ordered: bool = False) -> Found:
    """The two or three columns that hold index, name and WordNet id; the names of ``rows`` are lists of cells.

    The form says which were taken. ``ordered``: the rows are known to be in class order. UnsureError.
    """
    cells = [[str(cell).strip() for cell in row.name] for row in rows]
    everywhere = range(len(cells[0]))
    names = list(titles) if titles is not None else [f"column {column + 1}" for column in everywhere]
    numbers = [column for column in everywhere if all(INDEX.fullmatch(row[column]) for row in cells)]
    wnids = [column for column in everywhere if all(WNID.fullmatch(row[column]) for row in cells)]
    index = None
    if not ordered:
        index = _preferred(names, numbers, NUMBER_TITLES)
        if index is None and numbers:
            orders = {tuple(int(row[column]) for row in cells): column for column in reversed(numbers)}
            complete = [column for order, column in orders.items() if is_complete(order)] or list(orders.values())
            if len(complete) > 1:
                raise UnsureError(
                    f"{quoted(names[column] for column in sorted(complete))} are numbers; call one index."
                )
            index = complete[0]
        if index is None:
            _refuse_broken_index(names, rows, cells, wnids)
    texts = [column for column in everywhere if column not in {*numbers, *wnids}]
    texts = texts or [column for column in numbers if column != index] or wnids
    name = texts[0] if len(texts) == 1 else _preferred(names, texts, NAME_TITLES)
    if name is None or (index is None and titles is None and not wnids):
        raise UnsureError(
            f"which column holds what? It has {quoted(names)}; give a table of two, with the header index,name."
        )
    entries = [
        Entry(
            row.place,
            [row_cells[wnids[0]], row_cells[name]] if wnids and name not in wnids else row_cells[name],
            None if index is None else int(row_cells[index]),
        )
        for row, row_cells in zip(rows, cells, strict=True)
    ]
    taken = [names[column] or "the first column" for column in (index, name) if column is not None]
    return Found(entries, " and ".join(taken))


def _refuse_broken_index(
    titles: Sequence[str], rows: Sequence[Entry], cells: Sequence[Sequence[str]], wnids: Sequence[int]
) -> None:
    """UnsureError where a column is meant as the index and some of its cells hold none."""
    for column, title in enumerate(titles):
        odd = [row_number for row_number, row in enumerate(cells) if not INDEX.fullmatch(row[column])]
        if column not in wnids and (plain(title) in INDEX_TITLES or 2 * len(odd) < len(cells)):
            raise UnsureError(f'{rows[odd[0]].place} has "{shown(cells[odd[0]][column])}" for a class index ({title}).')


def _preferred(titles: Sequence[str], among: Sequence[int], wanted: Sequence[str]) -> int | None:
    ranked = [(wanted.index(plain(titles[column])), column) for column in among if plain(titles[column]) in wanted]
    return min(ranked)[1] if ranked else None
