"""The tables say what holds, what does not, and what is not to be trusted."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.planned.comparison import compare_all
from bench.planned.report import BEGIN, END, report_lines, spent_lines, with_section
from tests.unit.bench.planned.sessions import session
from tests.unit.plan.measurements import POD, measurement


def test_every_load_has_its_verdict_and_its_explanation() -> None:
    slower = session(loaded=replace(POD, pace=(1.3,)))
    noise = measurement().noise.model_copy(update={"reasons": ("the machine was busy",)})
    recording = replace(slower.recording, conditions=slower.recording.conditions.model_copy(update={"noise": noise}))
    found = replace(slower, recording=recording)
    measured, spec, compared = compare_all(found)
    text = "\n".join(report_lines(measured, spec, found.parts, compared))
    assert "0 of 2 do" in text
    assert "**Not to be trusted**: the machine was busy." in text
    poisson = [line for line in text.splitlines() if line.startswith("| poisson")]
    assert len(poisson) == 3
    assert "**no**" in poisson[0]
    took = [float(share) for share in re.findall(r"[-+.\d]+(?=%)", poisson[1].split("|")[8])]
    assert took == pytest.approx([30, 30, 30], abs=4)
    assert took[1] < took[0] < took[2]
    slower_p50, slower_p99 = (float(share.strip(" %+")) for share in poisson[2].split("|")[3:5])
    assert min(slower_p50, slower_p99) >= 4
    # A line for each part.
    assert len("\n".join(spent_lines(compared)).strip().splitlines()) == 2 + 4


def test_section_takes_the_place_of_the_one_before() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    assert with_section(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter"
    with pytest.raises(ValueError, match="markers"):
        with_section("nothing", "new")
