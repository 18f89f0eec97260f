"""Which heartbeats of a writer are news to its standby."""

from __future__ import annotations

from bridge.connector.writer_beats import WriterBeats


def beat(number: object, epoch: int = 5, instance: str = "a") -> dict[str, str]:
    return {"instance": instance, "epoch": str(epoch), "beat": str(number)}


def test_a_heartbeat_that_is_new_is_of_now_and_the_same_one_is_no_news() -> None:
    beats = WriterBeats()
    assert [beats.until(beat(number), 10 * number) for number in (1, 2, 2, 3)] == [10, 20, None, 30]


def test_an_earlier_one_is_of_when_it_was_seen() -> None:
    beats = WriterBeats()
    for number in (1, 2, 4, 5):
        beats.until(beat(number), 10 * number)
    assert beats.until(beat(3), 60) == 20, "it was not seen; the one before it was"
    assert beats.until(beat(3), 61) is None
    assert beats.until(beat(6), 70) == 70, "the writer goes on"
    assert beats.until(beat(4), 80) == 20, "what was lost before is forgotten"


def test_an_earlier_writer_is_of_earlier_whatever_its_number() -> None:
    beats = WriterBeats()
    beats.until(beat(100, epoch=4, instance="b"), 10)
    beats.until(beat(1), 20)
    assert beats.until(beat(101, epoch=4, instance="b"), 30) == 10
    assert beats.until(beat(1, epoch=3, instance="c"), 40) == 0, "it was never seen"
    assert beats.until(beat(1, epoch=6, instance="d"), 50) == 50


def test_a_heartbeat_of_nobody_s_is_news() -> None:
    beats = WriterBeats()
    beats.until(beat(7), 10)
    assert beats.until(beat("odd"), 20) == 20
    assert beats.until({}, 30) == 30
