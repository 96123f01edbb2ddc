"""Where the rules are written."""

from typing import Final

DESTINATION: Final = "Endpoint Picker Protocol 1.0, Destination Endpoint"
SUBSET: Final = "Endpoint Picker Protocol 1.0, Endpoint Subset"
SERVED: Final = "Endpoint Picker Protocol 1.0, Destination Endpoint Served"
EXT_PROC: Final = "Envoy, external_processor.proto"
MODES: Final = "Envoy, ext_proc processing_mode.proto"
MUTATION: Final = "Envoy, header mutation rules of ext_proc"
FRAMING: Final = "RFC 9113, 8.2.2, and RFC 9110, 8.6"
TIMEOUT: Final = "Envoy, ext_proc message_timeout"
ISTIO: Final = "Istio 1.30 as seen on the wire"
ENVOY_SECOND_END: Final = "Envoy issue 46237"
ENVOY_GATEWAY: Final = "Envoy AI Gateway, processing-body-mode"
AVAILABILITY: Final = "an endpoint picker serves every client of a pool"
SUITE: Final = "inference-extension conformance suite 1.5"
GRPC: Final = "gRPC over HTTP/2"
HEALTH: Final = "gRPC health checking protocol"
