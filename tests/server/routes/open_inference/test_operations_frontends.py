"""REST and gRPC with two front ends and an engine process, which share ports and statistics."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from tritonclient.utils import InferenceServerException

from ....support.live import Process
from ....support.open_inference_digits import PNG, Server, serving

REQUESTS = 40


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--model", "digits-vit", "--frontends", "2") as running:
        yield running


def ask(module: Any, address: str) -> int:
    """Class of the image, by a new client and connection."""
    sent = module.InferInput("image", [1], "BYTES")
    sent.set_data_from_numpy(np.array([PNG], dtype=np.object_))
    with module.InferenceServerClient(address) as client:
        return int(client.infer("digits-vit", [sent]).as_numpy("logits").argmax())


def test_statistics_sum_over_front_ends(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        grpc_answers = [pool.submit(ask, grpc_client, server.grpc) for _ in range(REQUESTS)]
        assert [answer.result() for answer in grpc_answers] == [7] * REQUESTS
    for _ in range(5):
        assert ask(http_client, server.host) == 7
    with http_client.InferenceServerClient(server.host) as client:
        assert client.is_model_ready("digits-vit", "1")
        assert client.get_model_config("digits-vit")["max_batch_size"] == 32
        for _ in range(200):  # metrics of other processes are at most half a second old
            counts = client.get_inference_statistics("digits-vit")["model_stats"][0]
            if counts["inference_count"] == counts["inference_stats"]["success"]["count"] == REQUESTS + 5:
                break
            time.sleep(0.05)
        else:
            pytest.fail(str(counts))
        assert sum(batch["compute_infer"]["count"] for batch in counts["batch_stats"]) == counts["execution_count"]


def test_pixels_reach_the_engine_through_shared_memory(server: Server) -> None:
    sent = http_client.InferInput("pixels", [1, 24, 24, 3], "UINT8")
    sent.set_data_from_numpy(server.pixels())
    with http_client.InferenceServerClient(server.host) as client:
        answer = client.infer("digits-vit", [sent])
    assert np.allclose(answer.as_numpy("probabilities")[0], server.scores(PNG), atol=1e-5)


def test_shutdown_under_load() -> None:
    process = Process("--model", "digits-vit", "--frontends", "2", "--grpc-port", "0").ready()
    address = next(line.split("gRPC on ")[1].split()[0] for line in process.log if "gRPC on" in line)
    stop, outcomes = threading.Event(), []

    def keep_asking() -> None:
        sent = grpc_client.InferInput("image", [1], "BYTES")
        sent.set_data_from_numpy(np.array([PNG], dtype=np.object_))
        with grpc_client.InferenceServerClient(address) as client:
            while not stop.is_set():
                try:
                    outcomes.append(int(client.infer("digits-vit", [sent]).as_numpy("logits").argmax()))
                except InferenceServerException as error:
                    outcomes.append(error.status())
                    return

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 20:
        time.sleep(0.01)
    code = process.stop()
    stop.set()
    for thread in threads:
        thread.join(30)
    assert code == 0, "".join(process.log)
    # gRPC itself rejects calls that it has not dispatched, during its shutdown as cancelled; none may hang
    assert set(outcomes) <= {7, "StatusCode.UNAVAILABLE", "StatusCode.CANCELLED"}, set(outcomes)
