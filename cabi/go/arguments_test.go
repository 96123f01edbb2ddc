package epp_test

import (
	"math"
	"testing"
	"time"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, options := range []epp.Options{
		{MaxRanks: 65537},
		{MaxBlocks: math.MaxUint32 + 1},
		{PrefillTokensPerSecond: -1},
		{PrefillTokensPerSecond: math.NaN()},
		{PrefillTokensPerSecond: math.Inf(1)},
		{BlockTokens: 1<<20 + 1},
	} {
		router, err := epp.NewRouter(options)
		refused(t, epp.ErrArgument, err)
		if router != nil {
			t.Fatal("a router beside an error")
		}
	}
}

func TestWrongWorkersAreRefused(t *testing.T) {
	router := fleet(t)
	for _, worker := range []epp.Worker{
		{ID: 1, Role: 9}, {ID: 1, DPSize: 4097}, {ID: 1, BlockTokens: 1<<20 + 1},
	} {
		_, err := router.UpsertWorker(worker)
		refused(t, epp.ErrArgument, err)
	}
	equal(t, "workers", must(router.Stats())(t).Workers, 0)
	must(0, router.UpdateLoad(8, 8, epp.LoadSample{}))(t)
}

func TestWrongRequestsAreRefused(t *testing.T) {
	router := fleet(t, 1)
	weights := func(change func(*epp.CostParams)) epp.Request {
		params := epp.DefaultCostParams()
		change(&params)
		return epp.Request{CostParams: &params}
	}
	for i, request := range []epp.Request{
		{Policy: 6},
		{Policy: math.MaxUint32},
		{Lease: -time.Second},
		{Pin: &epp.Pin{WorkerID: 1, Rank: -2}},
		{PrefillPin: &epp.Pin{WorkerID: 1, Rank: math.MinInt32}},
		{Taints: []epp.Taint{{Name: "a", Weight: math.NaN()}}},
		{Taints: []epp.Taint{{Name: "a", Weight: math.Inf(-1)}}},
		weights(func(p *epp.CostParams) { p.OverlapCredit = -1 }),
		weights(func(p *epp.CostParams) { p.Temperature = math.NaN() }),
		weights(func(p *epp.CostParams) { p.HostWeight = math.Inf(1) }),
		weights(func(p *epp.CostParams) { p.ActiveRequestWeight = 1e10 }),
	} {
		_, err := router.SelectWorker(&request)
		if err == nil {
			t.Fatalf("request %d was taken", i)
		}
		refused(t, epp.ErrArgument, err)
		_, err = router.SelectAndReserve(1, &request)
		refused(t, epp.ErrArgument, err)
		_, err = router.Measure(&request)
		refused(t, epp.ErrArgument, err)
	}
	_, err := router.SelectWorker(nil)
	refused(t, epp.ErrArgument, err)
	_, err = router.Measure(nil)
	refused(t, epp.ErrArgument, err)
	_, err = router.SelectAndReserve(0, &epp.Request{})
	refused(t, epp.ErrArgument, err)
	equal(t, "bookings", must(router.Stats())(t).Bookings, 0)
}

func TestWrongEventsAreRefused(t *testing.T) {
	router := fleet(t, 1)
	for _, stored := range []epp.Stored{
		{Hashes: names(1, 1), Tokens: prompt(16, 1)},
		{Hashes: names(1, 1), Tokens: prompt(16, 1), BlockTokens: 1<<20 + 1},
		{Hashes: names(2, 1), Tokens: prompt(16, 1), BlockTokens: 16},
		{Hashes: names(1, 1), Tokens: prompt(32, 1), BlockTokens: 16},
		{Hashes: names(1, 1), Tokens: prompt(16, 1), BlockTokens: 16, MMCounts: []uint32{0, 0}},
		{Hashes: names(1, 1), Tokens: prompt(16, 1), BlockTokens: 16, MMCounts: []uint32{2}, MMHashes: []uint64{1}},
		{Hashes: names(1, 1), Tokens: prompt(16, 1), BlockTokens: 16, Tier: 4},
	} {
		_, err := router.ApplyStored(1, 0, stored, at(0))
		refused(t, epp.ErrArgument, err)
	}
	_, err := router.ApplyRemoved(1, 0, names(1, 1), 4, at(0))
	refused(t, epp.ErrArgument, err)
	const far = math.MaxUint64
	for _, event := range []epp.Event{
		{Kind: 3},
		{Kind: epp.EventRemoved, NumBlocks: 2},
		{Kind: epp.EventRemoved, FirstHash: far, NumBlocks: 1},
		{Kind: epp.EventRemoved, FirstHash: 1, NumBlocks: far},
		{Kind: epp.EventStored, BlockTokens: 16, NumBlocks: far},
		{Kind: epp.EventStored, BlockTokens: 16, NumBlocks: 1, FirstToken: 1},
		{Kind: epp.EventStored, BlockTokens: 16, NumBlocks: 1, FirstToken: far},
		{Kind: epp.EventStored, BlockTokens: math.MaxUint32, NumBlocks: 1},
	} {
		batch := epp.Batch{Events: []epp.Event{event}, Hashes: names(1, 1), Tokens: prompt(16, 1)}
		if report, err := router.Apply(1, 0, batch, at(0)); err == nil && total(report) == 0 {
			t.Fatalf("%+v did %+v", event, report)
		}
	}
	equal(t, "blocks", must(router.Stats())(t).ResidentPairs, 0)
	for _, payload := range [][]byte{nil, {}, {0xc1}, []byte("garbage"), {0x93, 0xcb}} {
		report := must(router.ApplyPayload(1, 0, payload, at(0)))(t)
		equal(t, "malformed", report.Ignored[epp.IgnoredMalformed], 1)
	}
}

func TestWrongBookingsAreRefused(t *testing.T) {
	router := fleet(t, 1)
	must(router.SelectAndReserve(1, &epp.Request{Tokens: prompt(32, 1)}))(t)
	for _, decay := range []float64{1.5, math.NaN(), math.Inf(1)} {
		refused(t, epp.ErrArgument, router.OutputBlock(1, decay))
	}
	for _, booking := range []uint64{0, 2, math.MaxUint64} {
		_, _, err := router.PrefillComplete(booking, at(0))
		refused(t, epp.ErrUnknownBooking, err)
		refused(t, epp.ErrUnknownBooking, router.OutputBlock(booking, epp.NoDecay))
		refused(t, epp.ErrUnknownBooking, router.Renew(booking, at(0)))
		refused(t, epp.ErrUnknownBooking, router.Free(booking))
	}
}

func TestWrongPromptsAreRefusedByHashing(t *testing.T) {
	for _, c := range []struct {
		block   uint32
		options epp.HashOptions
	}{
		{0, epp.HashOptions{}},
		{1<<20 + 1, epp.HashOptions{}},
		{math.MaxUint32, epp.HashOptions{Eagle: true}},
		{16, epp.HashOptions{MMCounts: []uint32{0}}},
		{16, epp.HashOptions{MMCounts: []uint32{1, 1}, MMHashes: []uint64{1}}},
		{16, epp.HashOptions{MMCounts: []uint32{math.MaxUint32, math.MaxUint32}}},
		{16, epp.HashOptions{MMCounts: []uint32{65537, 0}, MMHashes: make([]uint64, 65537)}},
	} {
		local, chain, err := epp.BlockHashes(prompt(32, 1), c.block, c.options)
		refused(t, epp.ErrArgument, err)
		if local != nil || chain != nil {
			t.Fatal("hashes beside an error")
		}
	}
}

// Every method on a router that is closed, was never made, or is nil.
func TestAClosedRouterRefusesEverything(t *testing.T) {
	closed := fleet(t, 1)
	must(0, closed.Close())(t)
	must(0, closed.Close())(t)
	for _, router := range []*epp.Router{closed, new(epp.Router), nil} {
		for name, err := range map[string]error{
			"UpsertWorker":     second(router.UpsertWorker(epp.Worker{ID: 1})),
			"RemoveWorker":     second(router.RemoveWorker(1)),
			"UpdateLoad":       router.UpdateLoad(1, 0, epp.LoadSample{}),
			"DropBlocks":       second(router.DropBlocks(1, 0)),
			"Apply":            second(router.Apply(1, 0, epp.Batch{}, at(0))),
			"ApplyStored":      second(router.ApplyStored(1, 0, epp.Stored{BlockTokens: 16}, at(0))),
			"ApplyRemoved":     second(router.ApplyRemoved(1, 0, nil, epp.TierDevice, at(0))),
			"ApplyCleared":     second(router.ApplyCleared(1, 0, at(0))),
			"ApplyPayload":     second(router.ApplyPayload(1, 0, nil, at(0))),
			"SelectWorker":     second(router.SelectWorker(&epp.Request{})),
			"SelectAndReserve": second(router.SelectAndReserve(1, &epp.Request{})),
			"Measure":          second(router.Measure(&epp.Request{})),
			"Overlaps":         second(router.Overlaps(nil, epp.Namespace{})),
			"OutputBlock":      router.OutputBlock(1, epp.NoDecay),
			"Renew":            router.Renew(1, at(0)),
			"Free":             router.Free(1),
			"Expire":           second(router.Expire(at(0))),
			"Loads":            second(router.Loads()),
			"Stats":            second(router.Stats()),
			"Validate":         router.Validate(),
			"Dump":             second(router.Dump(at(0))),
			"Load":             second(router.Load(nil, at(0))),
		} {
			t.Run(name, func(t *testing.T) { refused(t, epp.ErrClosed, err) })
		}
		_, _, err := router.PrefillComplete(1, at(0))
		refused(t, epp.ErrClosed, err)
		must(0, router.Close())(t)
	}
}

func second[T any](_ T, err error) error { return err }
