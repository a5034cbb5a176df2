"""Prints each result with the client of adainf, and reports lost messages and lost connections."""

import sys

from adainfd.client import Gap, Link, Result, Subscriber


def tell(notice):
    match notice:
        case Gap():
            print("lost:", notice.lost, "of", notice.topic, file=sys.stderr)
        case Link():
            print(notice.endpoint, notice.state, notice.why, file=sys.stderr)


with Subscriber(sys.argv[1], topics=["result/"], notice=tell) as messages:
    for message in messages:
        if isinstance(message, Result):
            print(message.camera, message.labels[0].label, message.budget.limited_by, flush=True)
