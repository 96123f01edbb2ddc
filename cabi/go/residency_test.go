package epp_test

import (
	"slices"
	"testing"
	"time"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

func TestOverlapsAreRunsByTier(t *testing.T) {
	router, tokens := fleet(t, 1, 2), prompt(64, 1)
	store(t, router, 1, tokens[:16])
	more := epp.Stored{Hashes: names(1, 50), Tokens: tokens[16:32], BlockTokens: 16, Parent: pointer[uint64](1000)}
	more.Tier = epp.TierHost
	must(router.ApplyStored(1, 0, more, at(0)))(t)
	more = epp.Stored{Hashes: names(1, 60), Tokens: tokens[32:48], BlockTokens: 16, Parent: pointer[uint64](50)}
	more.Tier = epp.TierDisk
	must(router.ApplyStored(1, 0, more, at(0)))(t)
	overlaps := must(router.Overlaps(tokens, epp.Namespace{}))(t)
	want := []epp.Overlap{
		{epp.WorkerRank{WorkerID: 1}, 1, 1, 1, 48},
		{epp.WorkerRank{WorkerID: 2}, 0, 0, 0, 0},
	}
	if !slices.Equal(overlaps, want) {
		t.Fatalf("got %v, want %v", overlaps, want)
	}
	elsewhere := must(router.Overlaps(tokens, epp.Namespace{Salt: "tenant"}))(t)
	equal(t, "cached in another namespace", elsewhere[0].CachedTokens, 0)
}

func TestRemovedAndClearedBlocksAreGone(t *testing.T) {
	router, tokens := fleet(t, 1), prompt(64, 1)
	cached := func() uint64 { return must(router.Overlaps(tokens, epp.Namespace{}))(t)[0].CachedTokens }
	store(t, router, 1, tokens)
	equal(t, "cached, short of the last token", cached(), 48)
	report := must(router.ApplyRemoved(1, 0, []uint64{1002, 7}, epp.TierDevice, at(0)))(t)
	equal(t, "removed", report.RemovedBlocks, 1)
	equal(t, "unknown", report.Ignored[epp.IgnoredUnknownHash], 1)
	equal(t, "cached", cached(), 32)
	equal(t, "cleared", must(router.ApplyCleared(1, 0, at(0)))(t).Cleared, 1)
	equal(t, "cached", cached(), 0)
	store(t, router, 1, tokens)
	equal(t, "dropped", must(router.DropBlocks(1, 0))(t), 4)
	equal(t, "dropped of nobody", must(router.DropBlocks(9, 0))(t), 0)
	equal(t, "cached", cached(), 0)
}

func TestABatchAppliesInOrder(t *testing.T) {
	router, tokens := fleet(t, 1), prompt(48, 1)
	root := epp.Namespace{}.Seed()
	report := must(router.Apply(1, 0, epp.Batch{
		Events: []epp.Event{
			{Kind: epp.EventStored, BlockTokens: 16, NamespaceSeed: root, NumBlocks: 2},
			{
				Kind: epp.EventStored, BlockTokens: 16, Flags: epp.EventHasParent, ParentHash: 11,
				FirstHash: 2, NumBlocks: 1, FirstToken: 32,
			},
			{Kind: epp.EventRemoved, FirstHash: 2, NumBlocks: 1},
		},
		Hashes: []uint64{10, 11, 12}, Tokens: tokens,
	}, at(0)))(t)
	equal(t, "stored", report.StoredBlocks, 3)
	equal(t, "removed", report.RemovedBlocks, 1)
	equal(t, "cached", must(router.Overlaps(tokens, epp.Namespace{}))(t)[0].CachedTokens, 32)
	report = must(router.ApplyCleared(5, 0, at(0)))(t)
	equal(t, "unknown worker", report.Ignored[epp.IgnoredUnknownWorker], 1)
}

func TestWorkersComeChangeAndGo(t *testing.T) {
	router := newRouter(t, epp.Options{})
	must(router.UpsertWorker(epp.Worker{ID: 4, DPSize: 3, BlockTokens: 16}))(t)
	for booking := uint64(1); booking <= 9; booking++ {
		pin := &epp.Pin{WorkerID: 4, Rank: int32(booking % 3)}
		choice := must(router.SelectAndReserve(booking, &epp.Request{Tokens: prompt(32, 1), Now: at(0), Pin: pin}))(t)
		equal(t, "rank", choice.Worker, epp.WorkerRank{WorkerID: 4, Rank: uint32(booking % 3)})
	}
	dropped := must(router.UpsertWorker(epp.Worker{ID: 4, DPSize: 1, BlockTokens: 16}))(t)
	if want := []uint64{1, 2, 4, 5, 7, 8}; !slices.Equal(dropped, want) {
		t.Fatalf("dropped %v", dropped)
	}
	if dropped = must(router.RemoveWorker(4))(t); !slices.Equal(dropped, []uint64{3, 6, 9}) {
		t.Fatalf("dropped %v", dropped)
	}
	equal(t, "dropped of nobody", len(must(router.RemoveWorker(4))(t)), 0)
	stats := must(router.Stats())(t)
	equal(t, "workers and bookings", stats.Workers+stats.Ranks+stats.Bookings, 0)
}

func TestWorkersWithoutEventsAreBelieved(t *testing.T) {
	router := newRouter(t, epp.Options{PredictedTTL: time.Minute})
	must(router.UpsertWorker(epp.Worker{ID: 1, BlockTokens: 16, NoEvents: true}))(t)
	tokens := prompt(64, 1)
	must(router.SelectAndReserve(1, &epp.Request{Tokens: tokens, Now: at(0)}))(t)
	equal(t, "believed", must(router.Stats())(t).PredictedBlocks, 4)
	equal(t, "cached", must(router.Overlaps(tokens, epp.Namespace{}))(t)[0].CachedTokens, 48)
	must(router.Expire(at(61 * time.Second)))(t)
	equal(t, "believed", must(router.Stats())(t).PredictedBlocks, 0)
}

func TestOptionsBound(t *testing.T) {
	router := newRouter(t, epp.Options{MaxWorkers: 2, MaxRanks: 3, MaxBookings: 1, MaxBlocks: 2})
	must(router.UpsertWorker(epp.Worker{ID: 1, BlockTokens: 16}))(t)
	_, err := router.UpsertWorker(epp.Worker{ID: 2, DPSize: 3})
	refused(t, epp.ErrCapacity, err)
	must(router.UpsertWorker(epp.Worker{ID: 2}))(t)
	_, err = router.UpsertWorker(epp.Worker{ID: 3})
	refused(t, epp.ErrCapacity, err)
	equal(t, "beyond", store(t, router, 1, prompt(64, 1)).Ignored[epp.IgnoredCapacity], 2)
	must(router.SelectAndReserve(1, &epp.Request{}))(t)
	_, err = router.SelectAndReserve(2, &epp.Request{})
	refused(t, epp.ErrCapacity, err)
}

func TestASnapshotCarriesResidency(t *testing.T) {
	from, tokens := fleet(t, 1, 2), prompt(160, 1)
	store(t, from, 2, tokens)
	snapshot, err := from.Dump(at(0))
	if err != nil {
		t.Fatal(err)
	}
	to := fleet(t, 2)
	report := must(to.Load(snapshot, at(0)))(t)
	equal(t, "pairs", report.StoredPairs, 10)
	equal(t, "cached", must(to.Overlaps(tokens, epp.Namespace{}))(t)[0].CachedTokens, 144)
	_, err = to.Load([]byte("not a snapshot"), at(0))
	refused(t, epp.ErrSnapshotFormat, err)
	_, err = to.Load(nil, at(0))
	refused(t, epp.ErrSnapshotFormat, err)
	snapshot[len(snapshot)-1] ^= 1
	if _, err = fleet(t, 2).Load(snapshot, at(0)); err == nil {
		t.Fatal("a damaged snapshot was loaded")
	}
}
