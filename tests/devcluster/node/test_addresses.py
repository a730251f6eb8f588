"""Addresses of pods: unique, round robin, kept over a restart of the agent."""

import pytest

from sea_devcluster.node.context import AddressesExhaustedError, AddressPool


def test_each_pod_gets_another_one() -> None:
    pool = AddressPool("127.9.8.0/24")
    found = [pool.claim(str(number)) for number in range(253)]
    assert found[0] == "127.9.8.2"
    assert found[-1] == "127.9.8.254"
    assert len(set(found)) == 253
    with pytest.raises(AddressesExhaustedError, match=r"All 253 pod addresses of 127.9.8.0/24"):
        pool.claim("one too many")


def test_a_released_address_is_the_last_to_come_back() -> None:
    pool = AddressPool("127.9.8.0/29")
    first = pool.claim("a")
    pool.release("a")
    others = [pool.claim(str(number)) for number in range(4)]
    assert first not in others
    assert pool.claim("b") == first


def test_a_wanted_address_is_kept_where_it_is_free() -> None:
    pool = AddressPool("127.9.8.0/24")
    assert pool.claim("a", "127.9.8.77") == "127.9.8.77"
    assert pool.claim("b", "127.9.8.77") == "127.9.8.2"
    assert pool.claim("c", "10.0.0.1") == "127.9.8.3"
