package kvscorer_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/datalayer"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/plugin"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/requestcontrol"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/scheduling"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"

	"example.com/go-scorer-plugin/kvscorer"
)

const blockTokens = 16

func pod(name string) scheduling.Endpoint {
	metadata := &datalayer.EndpointMetadata{NamespacedName: types.NamespacedName{Namespace: "pool", Name: name}}
	return scheduling.NewEndpoint(metadata, datalayer.NewMetrics(), nil)
}

func request(id string, nTokens int) *scheduling.LLMRequest {
	tokens := make([]uint32, nTokens)
	for i := range tokens {
		tokens[i] = uint32(i)
	}
	return &scheduling.LLMRequest{RequestId: id, TokenizedPrompt: &scheduling.TokenizedPrompt{TokenIDs: tokens}}
}

// made goes the way of a configuration: the registry's factory with JSON parameters.
func made(t *testing.T, parameters string) *kvscorer.Scorer {
	t.Helper()
	handle := plugin.NewEppHandle(t.Context(), func() []types.NamespacedName {
		return []types.NamespacedName{{Namespace: "pool", Name: "a"}, {Namespace: "pool", Name: "b"}}
	})
	scorer, err := kvscorer.Factory("cost", json.RawMessage(parameters), handle)
	if err != nil {
		t.Fatal(err)
	}
	return scorer.(*kvscorer.Scorer)
}

func score(s *kvscorer.Scorer, r *scheduling.LLMRequest, pods ...scheduling.Endpoint) map[scheduling.Endpoint]float64 {
	return s.Score(context.Background(), scheduling.NewCycleState(), r, pods)
}

func expect(t *testing.T, scores map[scheduling.Endpoint]float64, pod scheduling.Endpoint, want float64) {
	t.Helper()
	if got, ok := scores[pod]; !ok || got != want {
		t.Errorf("%s scores %v, not %v", pod.GetMetadata().NamespacedName, got, want)
	}
}

func TestEqualPodsScoreAlike(t *testing.T) {
	a, b := pod("a"), pod("b")
	scores := score(made(t, ""), request("r", 100), a, b)
	expect(t, scores, a, 1)
	expect(t, scores, b, 1)
}

func TestThePodThatHoldsThePromptScoresBest(t *testing.T) {
	s := made(t, `{"blockTokens": 16, "kvEvents": true}`)
	a, b, asked := pod("a"), pod("b"), request("r", 8*blockTokens)
	score(s, asked, a, b) // both are known now
	hashes := []uint64{1, 2, 3, 4, 5, 6, 7, 8}
	stored := epp.Stored{Hashes: hashes, Tokens: asked.TokenizedPrompt.TokenIDs, BlockTokens: blockTokens}
	report, err := s.Router().ApplyStored(epp.WorkerID("pool/b"), 0, stored, time.Now())
	if err != nil || report.StoredBlocks != 8 {
		t.Fatalf("%+v %v", report, err)
	}
	scores := score(s, asked, a, b)
	expect(t, scores, a, 0)
	expect(t, scores, b, 1)
}

func TestWhereAPromptWasSentAttractsItsLike(t *testing.T) {
	s := made(t, `{"blockTokens": 16}`)
	a, b, first := pod("a"), pod("b"), request("first", 8*blockTokens)
	s.PreRequest(context.Background(), first, result(b))
	s.ResponseBody(context.Background(), first, &requestcontrol.Response{EndOfStream: true}, b.GetMetadata())
	scores := score(s, request("second", 8*blockTokens), a, b)
	expect(t, scores, a, 0)
	expect(t, scores, b, 1)
}

func TestABusyPodScoresLessUntilItsResponseEnds(t *testing.T) {
	s := made(t, `{"blockTokens": 16, "kvEvents": true}`)
	a, b, running := pod("a"), pod("b"), request("running", 8*blockTokens)
	s.PreRequest(context.Background(), running, result(a))
	other := request("other", blockTokens)
	expect(t, score(s, other, a, b), a, 0)
	s.ResponseBody(context.Background(), running, &requestcontrol.Response{}, a.GetMetadata())
	expect(t, score(s, other, a, b), a, 0)
	s.ResponseBody(context.Background(), running, &requestcontrol.Response{EndOfStream: true}, a.GetMetadata())
	expect(t, score(s, other, a, b), a, 1)
}

func TestPodsThatHaveGoneAreForgotten(t *testing.T) {
	s := made(t, "")
	score(s, request("r", 0), pod("a"), pod("b"))
	s.Tidy([]string{"pool/b"}, time.Now())
	stats, err := s.Router().Stats()
	if err != nil || stats.Workers != 1 {
		t.Errorf("%+v %v", stats, err)
	}
}

func TestRequestsWithoutTokensAreScoredByLoad(t *testing.T) {
	a, b := pod("a"), pod("b")
	scores := score(made(t, ""), &scheduling.LLMRequest{}, a, b)
	expect(t, scores, a, 1)
	expect(t, scores, b, 1)
}

func TestWrongParametersAreRefused(t *testing.T) {
	if _, err := kvscorer.Factory("cost", json.RawMessage(`{"blockTokens": "many"}`), nil); err == nil {
		t.Error("text is no number")
	}
}

func result(chosen scheduling.Endpoint) *scheduling.SchedulingResult {
	return &scheduling.SchedulingResult{
		PrimaryProfileName: "default",
		ProfileResults: map[string]*scheduling.ProfileRunResult{
			"default": {TargetEndpoints: []scheduling.Endpoint{chosen}},
		},
	}
}
