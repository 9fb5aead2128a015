from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sodkit.shares import share


@given(st.integers(0, 1000), st.integers(1, 40))
def test_parts_follow_each_other_and_differ_by_one_at_most(count: int, parts: int) -> None:
    shares = [share(count, part, parts) for part in range(parts)]
    assert [number for part in shares for number in part] == list(range(count))
    lengths = {len(part) for part in shares}
    assert max(lengths) - min(lengths) <= 1
