"""Prints each result in asyncio, with the client of adainf."""

import asyncio
import sys

from adainfd.client import Result, Subscriber


async def main(endpoint):
    with Subscriber(endpoint, topics=["result/"]) as messages:
        async for message in messages:
            if isinstance(message, Result):
                print(message.camera, message.labels[0].label, message.budget.limited_by, flush=True)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5600"))
