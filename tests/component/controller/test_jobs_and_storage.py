"""Jobs and the test of storage in a controller process: wired where they are wanted, and told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.adapters.kube.job_manifest import Shape, job_manifest
from konduktor_health.jobs import WantedJob
from tests.support.controller import NAMESPACE, cli, eventually
from tests.support.embedded import Embedded

JOBS: dict[str, Any] = {"namespace": NAMESPACE, "jobs": {"enabled": True, "image": "probe:1"}}


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    with ExitStack() as stack:
        yield Embedded(stack, tmp_path)


def left_behind(embedded: Embedded) -> None:
    """A Job of a controller that is gone, of a node that nobody wants to be tested."""
    uid = embedded.api.store.list("nodes")[0]["metadata"]["uid"]
    wanted = WantedJob("gpu-a", uid, "job-old", ("invasive",), {"nvidia.com/gpu": 8})
    embedded.api.store.create("jobs", job_manifest(wanted, Shape(NAMESPACE, "probe:1")))


def test_a_job_that_was_left_behind_is_deleted_after_a_start(embedded: Embedded) -> None:
    left_behind(embedded)
    with embedded.controller(probes=JOBS) as controller:
        controller.leading()
        eventually(
            lambda: embedded.api.store.list("jobs", namespace=NAMESPACE) == [],
            lambda: f"the Job is gone: {controller.tail()}",
            20,
        )
        assert 'konduktor_health_invasive_nodes{state="testing"} 0.0' in controller.metrics()
        assert controller.terminate()[0] == 0


def test_without_the_setting_nobody_looks_for_jobs(embedded: Embedded) -> None:
    left_behind(embedded)
    with embedded.controller() as controller:
        controller.leading()
        eventually(lambda: "konduktor_health_cycles_total" in controller.metrics(), "it turns")
        assert controller.terminate()[0] == 0
    assert len(embedded.api.store.list("jobs", namespace=NAMESPACE)) == 1


def test_jobs_without_an_image_are_a_mistake_that_is_named(embedded: Embedded) -> None:
    environ = {
        "LOG_ENDPOINT": embedded.loki.url,
        "KONDUKTOR_HEALTH_PROBES__JOBS__ENABLED": "true",
    }
    done = cli("run", "--once", "--kubeconfig", str(embedded.kubeconfig), environ=environ)
    assert done.returncode == 2
    assert "probes.jobs.image: Jobs need the image of the probe" in done.stderr
    assert "Traceback" not in done.stderr


def test_amounts_and_durations_that_make_no_sense_are_named(embedded: Embedded) -> None:
    for name, value, said in (
        ("JOBS__LIMITS", '{"memory": "lots"}', "an amount such as 500m, 2 or 16Gi is expected"),
        ("JOBS__PENDING_S", "1", "greater than or equal to 10"),
        ("PVC__ACCESS_MODE", "ReadWriteSometimes", "ReadWriteOnce"),
        ("PVC__SIZE", "big", "match pattern"),
    ):
        environ = {f"KONDUKTOR_HEALTH_PROBES__{name}": value, "LOG_ENDPOINT": embedded.loki.url}
        done = cli("run", "--once", "--kubeconfig", str(embedded.kubeconfig), environ=environ)
        assert done.returncode == 2, name
        assert said in done.stderr, done.stderr
