"""What `kill -9` at random moments does to a store: it takes the stages in flight, and nothing that was committed."""

from pathlib import Path

from benchmarks.kills import Killer, Violations


def test_killed_again_and_again_a_store_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    tally = Killer(tmp_path, kills=8).run()
    assert tally.violations == Violations()
    assert tally.kills == 8 and tally.repeated_answers < tally.answers / 2
