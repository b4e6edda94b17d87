"""Names that jobs share: claimed by one, waited for by the others."""

from __future__ import annotations

import asyncio

from rayjobs.named_registry import NamedEntry, NamedRegistry

ENTRY = NamedEntry(b"value", False, None)


async def test_a_name_is_made_by_the_first_who_claims_it_and_waited_for_by_the_others() -> None:
    registry = NamedRegistry()
    assert await registry.claim("n", "first") is None
    others = [asyncio.create_task(registry.claim("n", f"other {i}")) for i in range(3)]
    await asyncio.sleep(0)
    assert not any(other.done() for other in others)
    assert registry.put("n", ENTRY) is None
    assert await asyncio.gather(*others) == [ENTRY] * 3
    assert registry.get("n") is ENTRY and registry.names() == ["n"]


async def test_a_job_may_claim_again_what_it_has_claimed() -> None:
    registry = NamedRegistry()
    assert await registry.claim("n", "job") is None
    assert await registry.claim("n", "job") is None
    waiting = asyncio.create_task(registry.claim("n", "other"))
    registry.put("n", ENTRY)
    assert await waiting is ENTRY


async def test_what_a_job_did_not_make_is_the_next_ones_to_make() -> None:
    registry = NamedRegistry()
    await registry.claim("n", "first")
    waiting = [asyncio.create_task(registry.claim("n", f"other {i}")) for i in range(2)]
    await asyncio.sleep(0)
    registry.release("first")
    done, pending = await asyncio.wait(waiting, timeout=0.1)
    assert [task.result() for task in done] == [None] and len(pending) == 1
    registry.put("n", ENTRY)
    assert await pending.pop() is ENTRY


async def test_a_new_object_replaces_the_old_one_and_a_forgotten_name_is_free() -> None:
    registry = NamedRegistry()
    registry.put("n", ENTRY)
    newer = NamedEntry(b"newer", False, None)
    assert registry.put("n", newer) is ENTRY
    assert registry.forget("n") is newer and registry.forget("n") is None
    assert registry.get("n") is None and await registry.claim("n", "job") is None


async def test_a_job_may_give_up_one_name_and_keep_the_others_it_claimed() -> None:
    registry = NamedRegistry()
    await registry.claim("outer", "job")
    await registry.claim("inner", "job")
    registry.release("job", "inner")
    assert await registry.claim("inner", "other") is None
    waiting = asyncio.create_task(registry.claim("outer", "other"))
    await asyncio.sleep(0)
    assert not waiting.done()
    registry.put("outer", ENTRY)
    assert await waiting is ENTRY
