"""That shared wordings are found, that their places know each other's words, and that a sum tells which were added."""

import numpy as np

from attacks._texts.frames import frames_of, likely_frames, within

SIZE = 60
NAMES, FEES = np.arange(20, 40), np.arange(40, 46)


def texts(rng, count=30):
    """Two wordings, with a name at places 2 and 1, and a fee at places 4 and 3; tokens from 46 on are in none."""
    found = []
    for _ in range(count):
        one, two = rng.choice(NAMES, size=2)
        found.append(np.array([0, 1, one, 2, rng.choice(FEES), 3]))
        found.append(np.array([4, two, 5, rng.choice(FEES), 6, 7, 8]))
    return found


def test_texts_of_one_wording_are_one_frame():
    made = texts(np.random.default_rng(0))
    frames = frames_of(made, SIZE)
    assert [frame.texts.tolist() for frame in frames] == [list(range(0, 60, 2)), list(range(1, 60, 2))]
    assert [len(frame.open) for frame in frames] == [6, 7]
    for frame in frames:
        assert np.allclose(np.exp(frame.prior).sum(axis=1), 1)


def test_where_most_texts_are_worded_as_no_other_there_are_no_frames():
    rng = np.random.default_rng(0)
    alone = [rng.permutation(SIZE)[: 5 + number % 9] for number in range(70)]
    assert frames_of(alone, SIZE) == ()
    assert len(frames_of([*alone[:40], *texts(rng)], SIZE)) == 2


def test_a_name_of_another_wording_is_likelier_in_a_names_place_than_any_other_token():
    made = texts(np.random.default_rng(0), 9)
    kept = [text for text in made if not (len(text) == 6 and text[2] == made[1][1])]
    first, _ = frames_of(kept, SIZE)
    name = int(made[1][1])
    assert name not in {int(kept[i][2]) for i in first.texts}
    assert first.opens(np.array([2, 4, 2]), np.array([name, name, 41])).tolist() == [True, False, False]
    assert first.prior[2, name] > first.prior[4, name] + 2
    assert first.prior[2, 0] < first.prior[2, name]
    assert np.isfinite(first.prior[2, SIZE - 1])


def test_a_sum_tells_which_wordings_were_added():
    """Means 5 standard deviations apart in each of 8 directions: another pair is never as likely."""
    rng = np.random.default_rng(0)
    made = texts(rng)
    frames = frames_of(made, SIZE)
    means = 5 * rng.choice([-1, 1], size=(2, 8))
    outputs = [np.stack([means[len(text) - 6] for text in made]) + rng.normal(size=(60, 8)) for _ in range(2)]
    covariance = 2 * within(frames, outputs)
    assert np.allclose(covariance, 2 * np.eye(8), atol=1.0)
    for first in range(2):
        for second in range(2):
            vector = outputs[0][first] + outputs[1][second]
            drawn = likely_frames(frames, outputs, vector, covariance, 5, rng)
            # Which of two sums of the same two means was which text's, only their order in the sum tells.
            assert {tuple(sorted(pair)) for pair in drawn} == {tuple(sorted((first, second)))}
