package epp_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// crew runs functions side by side, each over and over, and fails the test with their first errors.
func crew(t *testing.T, rounds int, members ...func(rng *rand.Rand) error) {
	t.Helper()
	var group sync.WaitGroup
	for i, member := range members {
		group.Add(1)
		go func() {
			defer group.Done()
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range rounds {
				if err := member(rng); err != nil {
					t.Errorf("member %d: %v", i, err)
					return
				}
			}
		}()
	}
	group.Wait()
}

func randomPrompt(rng *rand.Rand) []uint32 {
	return prompt((1+rng.IntN(20))*blockTokens, uint32(1+1000*rng.IntN(4)))
}

func selects(router *epp.Router) func(*rand.Rand) error {
	return func(rng *rand.Rand) error {
		_, err := router.SelectWorker(&epp.Request{Tokens: randomPrompt(rng), Explain: rng.IntN(2) == 0})
		return err
	}
}

// books lives the whole life of a booking; the workers it may be on come and go under it.
func books(router *epp.Router) func(*rand.Rand) error {
	return func(rng *rand.Rand) error {
		booking := 1 + rng.Uint64()>>1
		if _, err := router.SelectAndReserve(booking, &epp.Request{Tokens: randomPrompt(rng)}); err != nil {
			return err
		}
		_, _, prefill := router.PrefillComplete(booking, time.Time{})
		for _, err := range []error{
			prefill, router.OutputBlock(booking, 0.5), router.Renew(booking, time.Time{}), router.Free(booking),
		} {
			if err != nil && !errors.Is(err, epp.ErrUnknownBooking) {
				return err
			}
		}
		return nil
	}
}

func writes(router *epp.Router) func(*rand.Rand) error {
	return func(rng *rand.Rand) error {
		worker, tokens := uint64(1+rng.IntN(4)), randomPrompt(rng)
		hashes := names(len(tokens)/blockTokens, uint64(tokens[0]))
		event := epp.Stored{Hashes: hashes, Tokens: tokens, BlockTokens: blockTokens}
		_, stored := router.ApplyStored(worker, 0, event, time.Time{})
		_, removed := router.ApplyRemoved(worker, 0, hashes[len(hashes)/2:], epp.TierDevice, time.Time{})
		return errors.Join(stored, removed)
	}
}

func changes(router *epp.Router) func(*rand.Rand) error {
	return func(rng *rand.Rand) error {
		_, gone := router.RemoveWorker(4)
		_, back := router.UpsertWorker(epp.Worker{ID: 4, BlockTokens: blockTokens})
		return errors.Join(gone, back, router.UpdateLoad(uint64(1+rng.IntN(4)), 0, epp.LoadSample{RunningRequests: 1}))
	}
}

func reads(router *epp.Router) func(*rand.Rand) error {
	return func(rng *rand.Rand) error {
		_, loads := router.Loads()
		_, stats := router.Stats()
		_, overlaps := router.Overlaps(randomPrompt(rng), epp.Namespace{})
		_, expired := router.Expire(time.Time{})
		_, dumped := router.Dump(time.Time{})
		return errors.Join(loads, stats, overlaps, expired, dumped)
	}
}

func TestAnyGoroutineMayCallAnything(t *testing.T) {
	router := fleet(t, 1, 2, 3, 4)
	crew(t, 300,
		selects(router), selects(router), books(router), books(router), books(router),
		writes(router), writes(router), changes(router), reads(router), reads(router))
	equal(t, "bookings left", must(router.Stats())(t).Bookings, 0)
}

func TestBookingsMadeAtOnceSeeEachOther(t *testing.T) {
	router := fleet(t, 1, 2, 3, 4)
	var next sync.Mutex
	booking := uint64(0)
	reserve := func(*rand.Rand) error {
		next.Lock()
		booking++
		mine := booking
		next.Unlock()
		_, err := router.SelectAndReserve(mine, &epp.Request{Tokens: prompt(64, uint32(1000*mine)), Now: at(0)})
		return err
	}
	crew(t, 10, reserve, reserve, reserve, reserve)
	for _, load := range must(router.Loads())(t) {
		equal(t, "requests of a worker", load.ActiveRequests, 10)
	}
}

func TestCloseWaitsForCallsUnderWay(t *testing.T) {
	for range 20 {
		router := fleet(t, 1, 2, 3, 4)
		closing := func(*rand.Rand) error { return router.Close() }
		untilClosed := func(do func(*rand.Rand) error) func(*rand.Rand) error {
			return func(rng *rand.Rand) error {
				if err := do(rng); err != nil && !errors.Is(err, epp.ErrClosed) {
					return err
				}
				return nil
			}
		}
		crew(t, 20, untilClosed(selects(router)), untilClosed(books(router)), untilClosed(reads(router)), closing)
	}
}
