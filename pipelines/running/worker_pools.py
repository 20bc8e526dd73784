"""Work shared out over several worker pools: Beam has one address of a pool for a whole pipeline."""

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.portability.api import beam_runner_api_pb2, endpoints_pb2
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.resources import ResourceHint

_POOL = "gato_toolchain:worker_pool:v1"


class _Pool(ResourceHint):  # type: ignore[misc]
    """Beam makes an environment of its own for each value of a hint."""

    urn = _POOL


def on_pools(numbers: Sequence[int], work: beam.DoFn, pools: Sequence[str] = ()) -> beam.PTransform:
    """Return a step from the pipeline's begin to what `work` makes of each number.

    pools: addresses of worker pools; each gets every n-th number. None: the runner shares them out.
    """
    return _OnPools(numbers, work, pools)


class _OnPools(beam.PTransform):  # type: ignore[misc]
    def __init__(self, numbers: Sequence[int], work: beam.DoFn, pools: Sequence[str]) -> None:
        super().__init__()
        self.numbers, self.work, self.pools = numbers, work, pools[: len(numbers)]

    def expand(self, begin: Any) -> Any:
        if len(self.pools) < 2:
            return begin | _Spread(self.numbers, self.work)
        ResourceHint.register_resource_hint("worker_pool", _Pool)
        shares = [
            begin | f"Pool {place}" >> _Spread(self.numbers[place :: len(self.pools)], self.work, {"worker_pool": pool})
            for place, pool in enumerate(self.pools)
        ]
        return shares | "Together" >> beam.Flatten()


class _Spread(beam.PTransform):  # type: ignore[misc]
    def __init__(self, numbers: Sequence[int], work: beam.DoFn, hints: dict[str, str] | None = None) -> None:
        super().__init__()
        self.numbers, self.work, self.hints = numbers, work, hints or {}

    def expand(self, begin: Any) -> Any:
        return (
            begin
            | "Numbers" >> beam.Create(self.numbers)
            | "Spread over workers" >> beam.Reshuffle()
            | "Work" >> beam.ParDo(self.work).with_resource_hints(**self.hints)
        )


def pool_runner(name: str) -> PipelineRunner:
    """Return Beam's runner of that name, which sends the work of each pool to its address."""
    runner = create_runner(name)
    if isinstance(runner, PortableRunner):
        run = runner.run_portable_pipeline

        def run_on_pools(pipeline: beam_runner_api_pb2.Pipeline, options: Any) -> Any:
            _address(pipeline)
            return run(pipeline, options)

        runner.run_portable_pipeline = run_on_pools
    return runner


def _address(pipeline: beam_runner_api_pb2.Pipeline) -> None:
    for environment in pipeline.components.environments.values():
        pool = environment.resource_hints.pop(_POOL, b"").decode()
        if pool:
            payload = beam_runner_api_pb2.ExternalPayload(endpoint=endpoints_pb2.ApiServiceDescriptor(url=pool))
            environment.payload = payload.SerializeToString()
