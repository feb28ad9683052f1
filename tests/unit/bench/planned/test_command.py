"""``python -m bench.planned``: what was kept is compared without a server, and says whether it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.planned import __main__ as command
from bench.planned.report import BEGIN, END
from bench.planned.session import write_part, write_recording
from marserve.plan.pod_spec import PodSpec
from tests.unit.bench.planned.sessions import session
from tests.unit.plan.measurements import POD


def keep(directory: Path, loaded: PodSpec) -> Path:
    kept = session(loaded=loaded)
    write_recording(directory, kept.recording)
    for number, part in enumerate(kept.parts):
        write_part(directory, number, part)
    return directory


@pytest.mark.parametrize(("factor", "status"), [(1.0, 0), (1.4, 1)])
def test_what_was_kept_is_compared_again_and_written_into_the_page(
    factor: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nyesterday\n{END}\nafter\n")
    monkeypatch.setattr(command, "PAGE", page)
    directory = keep(tmp_path / "kept", replace(POD, pace=(factor,)))
    assert command.main(["--from", str(directory), "--write"]) == status
    said = capsys.readouterr().out
    assert f"{2 if status == 0 else 0} of 2 do" in said
    assert "yesterday" not in page.read_text()
    assert "| poisson | 0.5 |" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [([], "give --pictures"), (["--pictures", "{here}", "--keep", "{here}"], "is not empty")],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.jpg").touch()
    with pytest.raises(SystemExit):
        command.main([word.format(here=tmp_path) for word in arguments])
    assert complaint in capsys.readouterr().err
