"""Tasks that get backbones' weights onto this machine, or off it."""

from __future__ import annotations

from qgis.core import QgsNetworkAccessManager

from ..engine.jobs import AddJob, DescribeJob, FetchJob, RemoveJob
from ..worker.pool import WorkerPool
from .environment import proxy_url
from .job import JobTask


def fetching(pool: WorkerPool, backbone: str, title: str, accept_licence: bool) -> JobTask:
    """In the main thread, where QGIS's proxy is read: the task that downloads."""
    proxy = proxy_url(QgsNetworkAccessManager.instance().fallbackProxy())
    job = FetchJob(backbone, accept_licence, proxy)
    return JobTask(f"Downloading {title}", pool, job)


def adding(pool: WorkerPool, backbone: str, title: str, file: str) -> JobTask:
    """The task that takes the weights from a file."""
    return JobTask(f"Adding {title}", pool, AddJob(backbone, file))


def removing(pool: WorkerPool, backbone: str, title: str) -> JobTask:
    """The task that removes the weights."""
    return JobTask(f"Removing {title}", pool, RemoveJob(backbone))


def naming(pool: WorkerPool, backbone: str) -> JobTask:
    """The task that asks what a model of timm is."""
    return JobTask(f"Looking up {backbone}", pool, DescribeJob([backbone]))
