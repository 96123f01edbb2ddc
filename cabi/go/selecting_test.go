package epp_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

func TestTheWorkerThatHoldsThePromptIsChosen(t *testing.T) {
	router, tokens := fleet(t, 1, 2, 3), prompt(160, 1)
	equal(t, "stored", store(t, router, 2, tokens).StoredBlocks, 10)
	choice := must(router.SelectWorker(&epp.Request{Tokens: tokens, Now: at(0)}))(t)
	equal(t, "worker", choice.Worker, epp.WorkerRank{WorkerID: 2})
	equal(t, "cached", choice.CachedTokens, 144)
	equal(t, "best cached", choice.BestCachedTokens, 144)
	equal(t, "prompt", choice.PromptTokens, 160)
	equal(t, "uncached", choice.UncachedTokens, 0)
	equal(t, "block size", choice.BlockTokens, blockTokens)
	equal(t, "rows", len(choice.Terms), 0)
	equal(t, "bookings", must(router.Stats())(t).Bookings, 0)
}

func TestAChoiceExplainsItself(t *testing.T) {
	router, tokens := fleet(t, 1, 2), prompt(48, 1)
	store(t, router, 2, tokens[:32])
	must(0, router.UpdateLoad(2, 0, epp.LoadSample{WaitingRequests: 3, RunningRequests: 4, KVUsage: 0.5}))(t)
	for range 2 { // the second time there is room for the rows at once
		choice := must(router.SelectWorker(&epp.Request{Tokens: tokens, Now: at(0), Explain: true}))(t)
		equal(t, "rows", len(choice.Terms), 2)
		row := choice.Terms[1]
		equal(t, "worker", row.WorkerID, 2)
		equal(t, "phase", row.Phase, epp.PhaseAggregated)
		equal(t, "device blocks", row.DeviceBlocks, 2)
		equal(t, "request blocks", row.RequestBlocks, 3)
		equal(t, "load", row.Load, epp.LoadSample{WaitingRequests: 3, RunningRequests: 4, KVUsage: 0.5})
		equal(t, "cost", row.Cost, choice.Cost)
		equal(t, "predicted", row.PredictedTTFTSeconds, 16.0/8000)
		rows := must(router.Measure(&epp.Request{Tokens: tokens, Now: at(0), Explain: true}))(t)
		if !slices.Equal(rows, choice.Terms) {
			t.Fatalf("measured %v, chose by %v", rows, choice.Terms)
		}
	}
}

func TestAPromptMayBeGivenByItsHashes(t *testing.T) {
	router, tokens := fleet(t, 1, 2), prompt(40, 1)
	store(t, router, 2, tokens[:16])
	_, hashes, err := epp.BlockHashes(tokens, blockTokens, epp.HashOptions{})
	must(0, err)(t)
	hashed := &epp.HashedPrompt{Hashes: hashes, BlockTokens: blockTokens, Tokens: 40}
	byTokens := must(router.Measure(&epp.Request{Tokens: tokens, Now: at(0)}))(t)
	byHashes := must(router.Measure(&epp.Request{Hashed: hashed, Now: at(0)}))(t)
	if len(byTokens) != 2 || !slices.Equal(byTokens, byHashes) {
		t.Fatalf("by tokens %v, by hashes %v", byTokens, byHashes)
	}
	choice := must(router.SelectAndReserve(1, &epp.Request{Hashed: hashed, Now: at(0)}))(t)
	equal(t, "worker", choice.Worker, epp.WorkerRank{WorkerID: 2})
	equal(t, "cached", choice.CachedTokens, 16)
	for _, wrong := range []epp.HashedPrompt{
		{Hashes: hashes, Tokens: 40},
		{Hashes: hashes, BlockTokens: blockTokens, Tokens: 64},
		{Hashes: hashes[:1], BlockTokens: blockTokens, Tokens: 40},
		{Hashes: make([]uint64, 1), BlockTokens: 1<<20 + 1, Tokens: 1<<20 + 1},
	} {
		_, err := router.SelectWorker(&epp.Request{Hashed: &wrong, Now: at(0)})
		refused(t, epp.ErrArgument, err)
	}
}

func TestAnswersThatChooseNobody(t *testing.T) {
	request := func(change func(*epp.Request)) *epp.Request {
		q := &epp.Request{Tokens: prompt(32, 1), Now: at(0)}
		if change != nil {
			change(q)
		}
		return q
	}
	_, err := newRouter(t, epp.Options{}).SelectWorker(request(nil))
	refused(t, epp.ErrNoWorkers, err)
	router := fleet(t, 1)
	must(router.SelectAndReserve(1, request(nil)))(t)
	for _, c := range []struct {
		want   epp.Status
		change func(*epp.Request)
	}{
		{epp.ErrNoCandidates, func(q *epp.Request) { q.Candidates = []uint64{} }},
		{epp.ErrNoCandidates, func(q *epp.Request) { q.Candidates = []uint64{5} }},
		{epp.ErrNoCandidates, func(q *epp.Request) { q.Taints = []epp.Taint{{Name: "gold", Required: true}} }},
		{epp.ErrUnknownPin, func(q *epp.Request) { q.Pin = &epp.Pin{WorkerID: 5} }},
		{epp.ErrUnknownPin, func(q *epp.Request) { q.PrefillPin = &epp.Pin{WorkerID: 5, Rank: epp.AnyRank} }},
		{epp.ErrRankOutOfRange, func(q *epp.Request) { q.Pin = &epp.Pin{WorkerID: 1, Rank: 1} }},
		{epp.ErrOverloaded, func(q *epp.Request) { q.Busy.PrefillTokens = pointer(10.0) }},
	} {
		_, err := router.SelectWorker(request(c.change))
		refused(t, c.want, err)
		var detailed *epp.Error
		if !errors.As(err, &detailed) || detailed.Op != "SelectWorker" {
			t.Fatalf("%#v says not which call it was", err)
		}
	}
	some := request(func(q *epp.Request) { q.Candidates = []uint64{1, 5} })
	equal(t, "allowed", must(router.SelectWorker(some))(t).Worker.WorkerID, 1)
}

func TestTaintsRequireAndPrefer(t *testing.T) {
	router := fleet(t, 1)
	must(router.UpsertWorker(epp.Worker{ID: 2, BlockTokens: 16, Taints: []string{"gold", "zone-a"}}))(t)
	for _, taint := range []epp.Taint{{Name: "gold", Required: true}, {Name: "zone-a", Weight: 1}} {
		choice := must(router.SelectWorker(&epp.Request{Tokens: prompt(32, 1), Taints: []epp.Taint{taint}}))(t)
		equal(t, "worker", choice.Worker.WorkerID, 2)
	}
}

func TestPrefillAndDecodeMaySplit(t *testing.T) {
	router := newRouter(t, epp.Options{})
	must(router.UpsertWorker(epp.Worker{ID: 1, Role: epp.RolePrefill, BlockTokens: 16}))(t)
	must(router.UpsertWorker(epp.Worker{ID: 2, Role: epp.RoleDecode, BlockTokens: 16}))(t)
	q := &epp.Request{Tokens: prompt(64, 1), Now: at(0), Explain: true}
	choice := must(router.SelectWorker(q))(t)
	equal(t, "split", choice.Split, true)
	equal(t, "prefill", choice.Prefill, epp.WorkerRank{WorkerID: 1})
	equal(t, "decode", choice.Worker, epp.WorkerRank{WorkerID: 2})
	equal(t, "phases", choice.Terms[0].Phase.String()+choice.Terms[1].Phase.String(), "prefilldecode")
	equal(t, "overlaps", len(must(router.Overlaps(q.Tokens, epp.Namespace{}))(t)), 2)
	for _, stay := range []func(*epp.Request){
		func(q *epp.Request) { q.NoSplit = true },
		func(q *epp.Request) { q.SplitMinPromptTokens = 65 },
		func(q *epp.Request) { q.SplitMinUncachedTokens = 65 },
	} {
		together := *q
		stay(&together)
		choice = must(router.SelectWorker(&together))(t)
		equal(t, "split", choice.Split, false)
		equal(t, "prefill", choice.Prefill, epp.WorkerRank{})
	}
}

func TestPoliciesAndSeeds(t *testing.T) {
	router, tokens := fleet(t, 1, 2, 3), prompt(32, 1)
	store(t, router, 3, tokens)
	choose := func(q epp.Request) uint64 {
		q.Tokens, q.Now = tokens, at(0)
		return must(router.SelectWorker(&q))(t).Worker.WorkerID
	}
	equal(t, "default policy", epp.Policy(0), epp.PolicyKV)
	equal(t, "ttft", choose(epp.Request{Policy: epp.PolicyTTFT}), 3)
	for turn := range uint64(6) {
		equal(t, "in turn", choose(epp.Request{Policy: epp.PolicyRoundRobin}), 1+turn%3)
	}
	for _, policy := range []epp.Policy{epp.PolicyRandom, epp.PolicyLeastLoaded, epp.PolicyPowerOfTwo} {
		seen := map[uint64]bool{}
		for seed := range uint64(200) {
			once := choose(epp.Request{Policy: policy, Seed: seed + 1})
			equal(t, "same seed", choose(epp.Request{Policy: policy, Seed: seed + 1}), once)
			seen[once] = true
		}
		equal(t, policy.String()+": workers seen", len(seen), 3)
	}
	seen := map[uint64]bool{}
	for range 200 {
		seen[choose(epp.Request{Policy: epp.PolicyRandom})] = true
	}
	equal(t, "workers seen by fresh seeds", len(seen), 3)
	blind := epp.DefaultCostParams()
	blind.OverlapCredit = 0
	seen = map[uint64]bool{}
	for seed := range uint64(200) {
		seen[choose(epp.Request{CostParams: &blind, Seed: seed + 1})] = true
	}
	equal(t, "workers seen without credit", len(seen), 3)
}

func TestNamesOfValues(t *testing.T) {
	equal(t, "policy", epp.PolicyPowerOfTwo.String(), "power-of-two")
	equal(t, "role", epp.RoleEncode.String(), "encode")
	equal(t, "tier", epp.TierExternal.String(), "external")
	equal(t, "kind", epp.EventCleared.String(), "cleared")
	equal(t, "phase", epp.PhaseDecode.String(), "decode")
	equal(t, "ignored", epp.IgnoredUnknownWorker.String(), "unknown-worker")
	equal(t, "count", int(epp.IgnoredUnknownWorker)+1, epp.IgnoredCount)
	equal(t, "unknown", epp.Role(math.MaxUint32).String(), "Role(4294967295)")
	equal(t, "status", epp.ErrOverloaded.Error(), "overloaded")
	equal(t, "closed", epp.ErrClosed.Error(), "router is closed")
	equal(t, "unknown status", epp.Status(77).Error(), "unknown status")
}
