"""Controls of guessed strings: as many bets as the attack makes, so that neither side finds more by betting more."""

from tiny import task, tiny_backbone

from attacks._base.attack import Answer, Fillers, Guess, Knowledge, Scope, Who
from attacks._judging.controls import OTHER, PRIOR, RANDOM, controls_of
from ifedpriv.data.task import Example
from ifedpriv.icl.prompts import Position

PUBLIC = tuple(
    Example(f"wrote {name} to {number}", label=0)
    for name in ("Ines", "Otto", "Zora")
    for number in (1234, 5678, 9012)
)


def guess(*chosen):
    row = ("Ines", "Otto", "Zora")
    answers = tuple(
        Answer(Who(i), Fillers(("name",), (row[i:] + row[:i],), (n,))) for i, n in enumerate(chosen)
    )
    return Guess("invert", "slots", Scope.UPLOADS, answers)


def test_every_control_bets_on_as_many_strings_as_the_attack():
    known = Knowledge(task(), Position.LABEL, PUBLIC)
    made = controls_of(guess(1, 2), (), guess(3, 3), tiny_backbone(), known)
    assert [content.chosen for content in made[OTHER]] == [(1,), (2,)]
    assert [content.chosen for content in made[RANDOM]] == [(1,), (2,)]
    assert [content.ranked[0][0] for content in made[OTHER]] == ["Otto", "Ines"]
    assert made[PRIOR][0].slots == ("name by itself", "number of 4 digits")
