"""The witness itself: a recording backend that lost bytes would prove nothing."""

from harness import smoke


def test_harness():
    smoke.main()
