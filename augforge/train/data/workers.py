"""The processes of a DataLoader: how many, and what each does first."""

from __future__ import annotations

import os
import signal

import cv2

MAX_WORKERS = 16


def default_workers(world: int = 1) -> int:
    """Loading processes of one rank: one per core, minus one core for the rank itself; at most 16."""
    return max(1, min(MAX_WORKERS, (os.cpu_count() or 1) // world - 1))


def init_worker(worker: int) -> None:
    """Compute in one thread, and leave Ctrl-C to the training process, which ends its workers."""
    cv2.setNumThreads(0)  # not 1: in a forked process that would wait for threads that only the parent has
    signal.signal(signal.SIGINT, signal.SIG_IGN)
