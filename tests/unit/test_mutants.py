"""What mutants are made of code, and which of them a sample has."""

from __future__ import annotations

from tests.mutants.changes import drawn, mutants_of

CODE = '''
"""A text for people."""

MOST_BYTES = 3


@decorated
def read(data: bytes, limit: int = MOST_BYTES) -> bytes:
    """A text for people."""
    if len(data) > limit:
        raise TooLarge("A sentence for people.")
    data.close()
    return data
'''


def changes(code: str) -> set[tuple[str, str]]:
    mutants = list(mutants_of("some.py", code))
    for mutant in mutants:
        compile(mutant.code(), mutant.path, "exec")
    return {(mutant.before, mutant.after) for mutant in mutants}


def test_constants_limits_errors_and_lone_statements_are_changed() -> None:
    assert {
        ("3", "4"),
        ("> limit", ">= limit"),
        ('raise TooLarge("A sentence for people.")', "pass"),
        ("data.close()", "pass"),
    } <= changes(CODE)


def test_texts_and_types_stay() -> None:
    assert not any("XX" in after for _, after in changes(CODE))
    assert not any(before == "bytes" for before, _ in changes(CODE))


def test_what_matters_is_known() -> None:
    assert {mutant.first_line for mutant in mutants_of("some.py", CODE) if mutant.matters} == {4, 10, 11}


def test_a_seed_draws_the_same_again_and_after_a_change_elsewhere() -> None:
    def sample(code: str, seed: int) -> set[tuple[str, str]]:
        return {(mutant.before, mutant.after) for mutant in drawn(mutants_of("some.py", code), 5, seed)}

    assert sample(CODE, 1) == sample(CODE, 1)
    assert sample(CODE, 1) == sample(f"import elsewhere\n{CODE}", 1)
    assert len({frozenset(sample(CODE, seed)) for seed in range(10)}) > 1
