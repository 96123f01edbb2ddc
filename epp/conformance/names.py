"""Names of the Endpoint Picker Protocol, written out again on purpose.

The picker of this repository has its own list. Shared constants would carry a misspelling into the test
that has to find it.
"""

from typing import Final

DESTINATION: Final = "x-gateway-destination-endpoint"
SUBSET_NAMESPACE: Final = "envoy.lb.subset_hint"
SUBSET: Final = "x-gateway-destination-endpoint-subset"
LB_NAMESPACE: Final = "envoy.lb"
SERVED: Final = "x-gateway-destination-endpoint-served"

SELECTION_HEADER: Final = "test-epp-endpoint-selection"
"""Request header of the inference-extension's conformance suite: a comma list of ip or ip:port."""
SERVED_HEADER: Final = "x-conformance-test-served-endpoint"
"""Response header of that suite: who served."""

EXT_PROC_SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
PROCESS: Final = f"/{EXT_PROC_SERVICE}/Process"
SUITE_HEALTH_NAME: Final = "inference-extension"
"""The health service name that the conformance suite's probes ask for."""

NOWHERE: Final = "192.0.2.1:9"
"""An endpoint no pool has: TEST-NET-1 (RFC 5737), the discard port."""
