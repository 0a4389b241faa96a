"""A transactional producer in a process of its own, told line by line what to do, so that it can be killed anywhere.

Arguments: bootstrap, transactional id, transaction time-out in ms, topic to write, topic whose offsets are committed,
consumer group. It answers each line with ``ok`` or the name of the exception.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.structs import OffsetAndMetadata


async def main(bootstrap: str, identity: str, limit_ms: str, topic: str, source: str, group: str) -> None:
    """Obey standard input until it ends."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=identity, transaction_timeout_ms=int(limit_ms)
    )
    loop = asyncio.get_running_loop()

    async def obey(verb: str, *arguments: str) -> None:
        if verb == "start":
            await producer.start()
        elif verb == "begin":
            await producer.begin_transaction()
        elif verb == "send":
            batch = producer.create_batch()
            assert batch.append(timestamp=None, key=None, value=arguments[0].encode())
            await (await producer.send_batch(batch, topic, partition=0))
        elif verb == "offset":
            offsets = {TopicPartition(source, 0): OffsetAndMetadata(int(arguments[0]), arguments[1])}
            await producer.send_offsets_to_transaction(offsets, group)
        elif verb == "commit":
            await producer.commit_transaction()
        elif verb == "commit-and-die":
            _die_after_end(producer)
            await producer.commit_transaction()
        else:
            raise AssertionError(verb)

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            await obey(*line.split())
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            print(type(error).__name__, flush=True)
        else:
            print("ok", flush=True)


def _die_after_end(producer: AIOKafkaProducer) -> None:
    """Let the process die once the request that ends the transaction is with the kernel."""
    send: Any = producer.client.send

    async def last(node: int, request: object, **options: Any) -> Any:
        if not isinstance(request, EndTxnRequest):
            return await send(node, request, **options)
        sending = asyncio.ensure_future(send(node, request, **options))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGKILL)
        return await sending

    vars(producer.client)["send"] = last


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
