"""What the naive enactor needs of a zone, the same in memory as on a server."""

from bench.naive.ports import Key, Outcome, Rrset, Transaction
from tests.naive.sites import Site


def rrset(name: str, rtype: str, *values: str) -> Rrset:
    return Rrset(key=Key(name, rtype), ttl_s=5, values=values)


async def test_a_transaction_is_done_where_an_rrset_is_exactly_as_required(site: Site) -> None:
    """Fewer values, more, others or none: nothing is done."""
    zone, key = site.client("c"), Key(f"lock.{site.zone}", "TXT")
    assert await zone.transact(Transaction(exactly={key: ()}, adds=[rrset(*key, "a", "b")])) is Outcome.DONE
    for wrong in ((), ("a",), ("a", "b", "c"), ("a", "c")):
        change = Transaction(exactly={key: wrong}, deletes=[key], adds=[rrset(*key, "d")])
        assert await zone.transact(change) is Outcome.CHANGED, wrong
        assert (await zone.read([key]))[key] == ("a", "b")
    change = Transaction(exactly={key: ("b", "a")}, deletes=[key], adds=[rrset(*key, "d")])
    assert await zone.transact(change) is Outcome.DONE
    assert (await zone.read([key]))[key] == ("d",)


async def test_a_name_that_must_be_in_use_is_looked_for_first(site: Site) -> None:
    """Any type will do; where it is gone, that is the answer, whatever else is not as required."""
    zone, lock, here, gone = site.client("c"), Key(f"lock.{site.zone}", "TXT"), f"x.{site.zone}", f"y.{site.zone}"
    await zone.transact(Transaction(exactly={}, adds=[rrset(here, "AAAA", "fd00::1")]))
    for in_use, held, outcome in (
        ([here], (), Outcome.DONE),
        ([here, gone], (), Outcome.GONE),
        ([here], ("held",), Outcome.CHANGED),
        ([gone], ("held",), Outcome.GONE),
    ):
        assert await zone.transact(Transaction(exactly={lock: held}, in_use=in_use)) is outcome, (in_use, held)


async def test_deletions_come_before_additions_and_take_whole_rrsets(site: Site) -> None:
    """An RRset that is not there is deleted without complaint; other types at the name stay."""
    zone, name = site.client("c"), f"x.{site.zone}"
    first = [rrset(name, "A", "10.0.0.1", "10.0.0.2"), rrset(name, "AAAA", "fd00::1")]
    await zone.transact(Transaction(exactly={}, adds=first))
    change = Transaction(
        exactly={}, deletes=[Key(name, "A"), Key(f"y.{site.zone}", "A")], adds=[rrset(name, "A", "10.0.0.3")]
    )
    assert await zone.transact(change) is Outcome.DONE
    assert (await site.resolve(name)).addresses == ("10.0.0.3", "fd00::1")


async def test_an_alias_beside_other_records_is_left_out_in_silence(site: Site) -> None:
    """And other records beside an alias: so a flip deletes what it replaces in the same transaction."""
    zone, name = site.client("c"), f"x.{site.zone}"
    address, alias = rrset(name, "A", "10.0.0.1"), rrset(name, "CNAME", f"y.{site.zone}")
    for first, second in ((address, alias), (alias, address)):
        await zone.transact(Transaction(exactly={}, deletes=[address.key, alias.key], adds=[first]))
        assert await zone.transact(Transaction(exactly={}, adds=[second])) is Outcome.DONE
        assert await zone.read([first.key, second.key]) == {first.key: first.values, second.key: ()}


async def test_names_below_are_those_that_have_records(site: Site) -> None:
    """Neither the name itself, nor one that merely ends like it, nor one whose records are gone."""
    zone, top = site.client("c"), f"trees.{site.zone}"
    names = [f"{label}{site.zone}" for label in ("a.trees.", "b.a.trees.", "trees.", "moretrees.", "gone.trees.")]
    await zone.transact(Transaction(exactly={}, adds=[rrset(name, "A", "10.0.0.1") for name in names]))
    await zone.transact(Transaction(exactly={}, deletes=[Key(names[-1], "A")]))
    assert list(await zone.names_below(top)) == [names[0], names[1]]


async def test_an_answer_is_of_the_name_asked_for_and_of_no_alias(site: Site) -> None:
    """Reads are of what is stored; a client's question follows the alias."""
    zone, name, tree = site.client("c"), f"x.{site.zone}", f"y.{site.zone}"
    await zone.transact(Transaction(exactly={}, adds=[rrset(name, "CNAME", tree), rrset(tree, "A", "10.0.0.1")]))
    assert await zone.read([Key(name, "A"), Key(name, "CNAME")]) == {Key(name, "A"): (), Key(name, "CNAME"): (tree,)}
    assert (await site.resolve(name)).addresses == ("10.0.0.1",)
