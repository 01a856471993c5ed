"""A Ray cluster of this machine alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from optidel.mapping import OBJECT_STORE


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    ray.init(
        "local",
        num_cpus=2,
        object_store_memory=OBJECT_STORE,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    yield ray
    ray.shutdown()
