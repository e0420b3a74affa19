"""The Celery side of `make bench-peers`: the application of its workers, and who fills their queue.

    celery --app celery_side worker      what a user would start
    python celery_side.py fill COUNT     puts so many no-op tasks into the queue
    python celery_side.py remote COMMAND puts one task into it that runs a command

PEER_BROKER and PEER_RESULTS are URLs. PEER_SETTING is `fastest` (a classic queue, acknowledged before the
task runs, four tasks fetched ahead) or `durable` (a quorum queue, acknowledged behind it, none ahead,
publications confirmed).
"""

import os
import shlex
import subprocess
import sys

from celery import Celery
from kombu import Queue

DURABLE = os.environ["PEER_SETTING"] == "durable"

app = Celery("celery_side", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_RESULTS"])
app.conf.update(
    task_default_queue="peer",
    task_queues=[Queue("peer", queue_arguments={"x-queue-type": "quorum"} if DURABLE else None)],
    task_acks_late=DURABLE,
    worker_prefetch_multiplier=1 if DURABLE else 4,
    broker_transport_options={"confirm_publish": DURABLE},
)


@app.task
def nothing():
    return None


@app.task
def remote(command):
    subprocess.run(shlex.split(command), check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", count]:
            with app.producer_pool.acquire() as producer:
                for _ in range(int(count)):
                    nothing.apply_async(producer=producer)
        case ["remote", command]:
            remote.delay(command)
