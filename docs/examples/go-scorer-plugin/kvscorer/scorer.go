// Package kvscorer is a scorer for the Gateway API inference extension that prices every pod with the native core:
// what its KV cache holds of the prompt, what it has still to compute, what it decodes.
//
// It needs token ids in the request (LLMRequest.TokenizedPrompt, which a tokenizing plugin fills); without them it
// goes by load. It learns where prompts went from its own hooks, and, where the host feeds them, from the pods' KV
// events (Scorer.Router().ApplyPayload).
package kvscorer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/datalayer"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/plugin"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/requestcontrol"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/scheduling"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// Type is what a configuration calls this plugin.
const Type = "kv-cost-scorer"

// housekeeping is how often leases end and pods that have gone are forgotten.
const housekeeping = time.Second

var (
	_ scheduling.Scorer           = (*Scorer)(nil)
	_ requestcontrol.PreRequest   = (*Scorer)(nil)
	_ requestcontrol.ResponseBody = (*Scorer)(nil)
)

// Parameters of the plugin in a configuration.
type Parameters struct {
	// BlockTokens is the pods' KV block size; 0: learnt from their events.
	BlockTokens uint32 `json:"blockTokens"`
	// KVEvents says that somebody feeds the pods' events; else where prompts were sent is believed for two minutes.
	KVEvents bool `json:"kvEvents"`
}

// Scorer prices pods. Any goroutine may call anything.
type Scorer struct {
	name       plugin.TypedName
	parameters Parameters
	router     *epp.Router
	bookings   atomic.Uint64
	inFlight   sync.Map // request id → booking

	mu    sync.Mutex
	known map[string]uint64 // pod → worker id
}

// Factory makes a Scorer for the plugin registry.
func Factory(name string, parameters json.RawMessage, handle plugin.Handle) (plugin.Plugin, error) {
	var read Parameters
	if len(parameters) > 0 {
		if err := json.Unmarshal(parameters, &read); err != nil {
			return nil, fmt.Errorf("the parameters of %s: %w", Type, err)
		}
	}
	scorer, err := New(name, read)
	if err != nil {
		return nil, err
	}
	go scorer.keepHouse(handle)
	return scorer, nil
}

// New makes a Scorer; its owner calls Tidy from time to time.
func New(name string, parameters Parameters) (*Scorer, error) {
	router, err := epp.NewRouter(epp.Options{})
	if err != nil {
		return nil, err
	}
	typed := plugin.TypedName{Type: Type, Name: name}
	return &Scorer{name: typed, parameters: parameters, router: router, known: map[string]uint64{}}, nil
}

// TypedName is the type and name of this instance.
func (s *Scorer) TypedName() plugin.TypedName { return s.name }

// Category says that cached prefixes and even load both count.
func (s *Scorer) Category() scheduling.ScorerCategory { return scheduling.Balance }

// Router is the core itself, to feed KV events to.
func (s *Scorer) Router() *epp.Router { return s.router }

// Score gives the cheapest pod 1 and the dearest 0.
func (s *Scorer) Score(
	_ context.Context, _ *scheduling.CycleState, request *scheduling.LLMRequest, pods []scheduling.Endpoint,
) map[scheduling.Endpoint]float64 {
	question := questionOf(request)
	podOf := make(map[uint64]scheduling.Endpoint, len(pods))
	question.Candidates = make([]uint64, 0, len(pods))
	for _, pod := range pods {
		if id, err := s.worker(pod.GetMetadata()); err == nil {
			podOf[id] = pod
			question.Candidates = append(question.Candidates, id)
		}
	}
	rows, err := s.router.Measure(question)
	if err != nil {
		return map[scheduling.Endpoint]float64{} // nothing to say: other scorers decide
	}
	return scores(rows, podOf)
}

// PreRequest books the request on the pod that was chosen.
func (s *Scorer) PreRequest(_ context.Context, request *scheduling.LLMRequest, result *scheduling.SchedulingResult) {
	profile := result.ProfileResults[result.PrimaryProfileName]
	if profile == nil || len(profile.TargetEndpoints) == 0 {
		return
	}
	id, err := s.worker(profile.TargetEndpoints[0].GetMetadata())
	if err != nil {
		return
	}
	booking, question := s.bookings.Add(1), questionOf(request)
	question.Pin = &epp.Pin{WorkerID: id, Rank: epp.AnyRank}
	if _, err := s.router.SelectAndReserve(booking, question); err == nil {
		s.inFlight.Store(request.RequestId, booking)
	}
}

// ResponseBody ends the booking with the response; one that never comes ends by its lease.
func (s *Scorer) ResponseBody(
	_ context.Context, request *scheduling.LLMRequest, response *requestcontrol.Response, _ *datalayer.EndpointMetadata,
) {
	if !response.EndOfStream {
		return
	}
	if booking, ok := s.inFlight.LoadAndDelete(request.RequestId); ok {
		_ = s.router.Free(booking.(uint64)) // it may have expired
	}
}

func questionOf(request *scheduling.LLMRequest) *epp.Request {
	question := &epp.Request{NoSplit: true}
	if request.TokenizedPrompt != nil {
		question.Tokens = request.TokenizedPrompt.TokenIDs
	}
	if request.Body != nil {
		question.Namespace.Salt = request.Body.CacheSalt()
	}
	return question
}

// scores turns costs, of a pod's best rank, into 0..1.
func scores(rows []epp.Terms, podOf map[uint64]scheduling.Endpoint) map[scheduling.Endpoint]float64 {
	cheapest := make(map[uint64]float64, len(podOf))
	least, most := math.Inf(1), math.Inf(-1)
	for _, row := range rows {
		if cost, seen := cheapest[row.WorkerID]; !seen || row.Cost < cost {
			cheapest[row.WorkerID] = row.Cost
		}
	}
	for _, cost := range cheapest {
		least, most = min(least, cost), max(most, cost)
	}
	scored := make(map[scheduling.Endpoint]float64, len(cheapest))
	for id, cost := range cheapest {
		scored[podOf[id]] = 1
		if most > least {
			scored[podOf[id]] = (most - cost) / (most - least)
		}
	}
	return scored
}
