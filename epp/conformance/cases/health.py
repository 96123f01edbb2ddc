"""The gRPC health service: what Envoy's health checks and Kubernetes' probes ask."""

from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from epp.conformance.bench import Bench
from epp.conformance.cases import sources
from epp.conformance.model import Case, FailedError, Level, Profile, SkippedError, case
from epp.conformance.names import EXT_PROC_SERVICE, SUITE_HEALTH_NAME

_messages: Final[Any] = health_pb2  # the package ships no types
_CHECK: Final = "/grpc.health.v1.Health/Check"


@case("health.overall", Level.RECOMMENDED, sources.HEALTH)
async def overall(bench: Bench) -> str:
    """The service as a whole (the empty name) is SERVING."""
    return await _serving(bench, "")


@case("health.ext-proc", Level.RECOMMENDED, sources.HEALTH)
async def ext_proc(bench: Bench) -> str:
    """The name of the ext_proc service, which Envoy's health checks use, is SERVING."""
    return await _serving(bench, EXT_PROC_SERVICE)


@case("health.liveness", Level.OPTIONAL, sources.HEALTH)
async def liveness(bench: Bench) -> str:
    """The name liveness, for probes, is SERVING."""
    return await _serving(bench, "liveness")


@case("health.readiness", Level.OPTIONAL, sources.HEALTH)
async def readiness(bench: Bench) -> str:
    """The name readiness, for probes, is SERVING."""
    return await _serving(bench, "readiness")


@case("health.unknown", Level.OPTIONAL, sources.HEALTH, pick=False)
async def unknown(bench: Bench) -> str:
    """A name nobody registered is answered with NOT_FOUND."""
    code, status = await _check(bench, "no.such.Service")
    if code is not grpc.StatusCode.NOT_FOUND:
        raise FailedError(f"{code.name} {status}".rstrip())
    return "NOT_FOUND"


@case("health.suite", Level.REQUIRED, sources.SUITE, profile=Profile.GATEWAY)
async def suite(bench: Bench) -> str:
    """The name inference-extension, which the suite's probes ask for, is SERVING."""
    return await _serving(bench, SUITE_HEALTH_NAME)


async def _serving(bench: Bench, service: str) -> str:
    code, status = await _check(bench, service)
    if status != "SERVING":
        raise FailedError(f"{code.name} {status}".rstrip())
    return status


async def _check(bench: Bench, service: str) -> tuple[grpc.StatusCode, str]:
    """The call's code and, where it is OK, the status by name."""
    check = bench.health_channel.unary_unary(
        _CHECK,
        request_serializer=_messages.HealthCheckRequest.SerializeToString,
        response_deserializer=_messages.HealthCheckResponse.FromString,
    )
    try:
        answer = await check(_messages.HealthCheckRequest(service=service), timeout=bench.target.timeout_s)
    except grpc.aio.AioRpcError as error:
        code = error.code()
        if code is grpc.StatusCode.UNIMPLEMENTED and bench.target.health is None:
            raise SkippedError(
                "no health service on the ext_proc port; name its port with --health-target"
            ) from error
        return code, ""
    name: str = _messages.HealthCheckResponse.ServingStatus.Name(answer.status)
    return grpc.StatusCode.OK, name


CASES: tuple[Case, ...] = (overall, ext_proc, liveness, readiness, unknown, suite)
