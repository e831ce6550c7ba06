"""Where the plan factory's units run: in this process, or on the workers of a Dask cluster."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from omegaconf import DictConfig

from dosewright.core import DosewrightError, StorageError
from dosewright.fluence.pyradplan import MissingExtraError
from dosewright.jobs.generate_unit import Unit, make_unit
from dosewright.jobs.hydra_task import build

log = logging.getLogger(__name__)
Outcome = tuple[Unit, int | None, str]  # what was to be made, how many plans that were, or why there are none
POLL_SECONDS = 1.0


def run_units(
    plain: dict[str, Any],
    units: Sequence[Unit],
    cluster: DictConfig | None,
    retries: int,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """Yield each unit's outcome as it ends.

    Args:
        plain: conf/generate.yaml, resolved.
        units: What to make.
        cluster: `_target_` of a Dask cluster; None makes one unit after the other in this process.
        retries: How often a unit is tried again whose worker died or that raised something unforeseen.
        tick: Called about every second while waiting.

    Raises:
        MissingExtraError: If Dask is not installed.
        StorageError: If the disk is full, which no retry mends.
    """
    if cluster is None:
        for unit in units:
            yield _outcome(unit, partial(make_unit, plain, unit))
            tick()
        return
    with _client(cluster) as client:
        yield from _spread(client, plain, units, retries, tick)


def _spread(
    client: Any, plain: dict[str, Any], units: Sequence[Unit], retries: int, tick: Callable[[], None]
) -> Iterator[Outcome]:
    from distributed import wait

    futures = {client.submit(_tolerant, plain, unit, retries=retries, pure=False): unit for unit in units}
    try:
        while futures:
            try:
                done = wait(list(futures), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            for future in done:
                unit = futures.pop(future)
                yield _outcome(unit, partial(_result, future))
            tick()
    finally:
        client.cancel(list(futures))


def _tolerant(plain: dict[str, Any], unit: Unit) -> int | DosewrightError:
    """Return the project's own errors instead of raising them: trying again would not mend them."""
    try:
        return make_unit(plain, unit)
    except DosewrightError as error:
        return error


def _result(future: Any) -> int:
    result: int | DosewrightError = future.result()
    if isinstance(result, DosewrightError):
        raise result
    return result


def _outcome(unit: Unit, make: Callable[[], int]) -> Outcome:
    try:
        return unit, make(), ""
    except StorageError:
        raise
    except Exception as error:  # whatever a unit or its worker died of must not take the others with it
        log.error("%s, %s: %s", unit.case_id, unit.beam_set, error, exc_info=not isinstance(error, DosewrightError))
        return unit, None, str(error) or type(error).__name__


@contextmanager
def _client(node: DictConfig) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        rule = (
            f"a cluster needs Dask ({error}); install it with: pip install 'dosewright[factory]', or take cluster=none"
        )
        raise MissingExtraError(rule) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)  # it gives itself a louder one when imported
    with build(node) as cluster, Client(cluster) as client:
        log.info("Dask cluster: %s", client.dashboard_link or cluster)
        yield client
