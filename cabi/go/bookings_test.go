package epp_test

import (
	"math"
	"slices"
	"testing"
	"time"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

func TestABookingLivesAndEnds(t *testing.T) {
	router, tokens := fleet(t, 1, 2), prompt(100, 1)
	choice := must(router.SelectAndReserve(7, &epp.Request{Tokens: tokens, Now: at(0)}))(t)
	loads := must(router.Loads())(t)
	equal(t, "ranks", len(loads), 2)
	load := loads[choice.Worker.WorkerID-1]
	equal(t, "worker", load.WorkerID, choice.Worker.WorkerID)
	equal(t, "requests", load.ActiveRequests, 1)
	equal(t, "prefill tokens", load.ActivePrefillTokens, 100)

	_, err := router.SelectAndReserve(7, &epp.Request{Tokens: tokens, Now: at(0)})
	refused(t, epp.ErrDuplicateBooking, err)
	other := must(router.SelectAndReserve(8, &epp.Request{Tokens: prompt(100, 5000), Now: at(0)}))(t)
	if other.Worker == choice.Worker {
		t.Fatal("two different prompts at once on one of two idle workers")
	}

	done, first, err := router.PrefillComplete(7, at(time.Second))
	if err != nil || !first {
		t.Fatalf("first %v, error %v", first, err)
	}
	equal(t, "booking", done.Booking, 7)
	equal(t, "exact", done.Exact, false)
	if late := done.At.Sub(at(time.Second)).Abs(); late > time.Microsecond {
		t.Fatalf("done %v off", late)
	}
	if late := done.ReservedAt.Sub(at(0)).Abs(); late > time.Microsecond {
		t.Fatalf("reserved %v off", late)
	}
	if done, first, err = router.PrefillComplete(7, at(2*time.Second)); first || err != nil || done.Booking != 0 {
		t.Fatalf("again: %v %v %v", done, first, err)
	}
	for range 3 {
		must(0, router.OutputBlock(7, epp.NoDecay))(t)
	}
	equal(t, "decode blocks", must(router.Loads())(t)[choice.Worker.WorkerID-1].ActiveDecodeBlocks, 6+3)
	must(0, router.OutputBlock(7, 0.5))(t)
	must(0, router.Free(7))(t)
	refused(t, epp.ErrUnknownBooking, router.Free(7))
	must(0, router.Free(8))(t)
	for _, load := range must(router.Loads())(t) {
		equal(t, "requests", load.ActiveRequests, 0)
		equal(t, "decode blocks", load.ActiveDecodeBlocks, 0)
	}
}

func TestLeasesExpireUnlessRenewed(t *testing.T) {
	router, tokens := fleet(t, 1), prompt(32, 1)
	for booking := uint64(1); booking <= 100; booking++ {
		must(router.SelectAndReserve(booking, &epp.Request{Tokens: tokens, Now: at(0), Lease: time.Minute}))(t)
	}
	must(0, router.Renew(50, at(30*time.Second)))(t)
	equal(t, "expired", len(must(router.Expire(at(59*time.Second)))(t)), 0)
	expired := must(router.Expire(at(61 * time.Second)))(t)
	want := slices.DeleteFunc(names(100, 1), func(id uint64) bool { return id == 50 })
	if !slices.Equal(expired, want) {
		t.Fatalf("got %v", expired)
	}
	expired = must(router.Expire(at(91 * time.Second)))(t)
	if !slices.Equal(expired, []uint64{50}) {
		t.Fatalf("got %v", expired)
	}
}

func TestEventsTellThatAPrefillIsDone(t *testing.T) {
	router := fleet(t, 1)
	const bookings = 40 // more than there is room for at first
	tokens := prompt(32, 1)
	for booking := uint64(1); booking <= bookings; booking++ {
		must(router.SelectAndReserve(booking, &epp.Request{Tokens: tokens, Now: at(0)}))(t)
	}
	report := store(t, router, 1, tokens)
	equal(t, "done", len(report.PrefillDone), bookings)
	for i, done := range report.PrefillDone {
		equal(t, "booking", done.Booking, uint64(i+1))
		equal(t, "exact", done.Exact, true)
	}
	output := epp.Stored{Hashes: []uint64{9}, Tokens: prompt(16, 900), BlockTokens: 16, Parent: pointer[uint64](1001)}
	report = must(router.ApplyStored(1, 0, output, at(time.Second)))(t)
	if want := []epp.DecodeProgress{{Booking: 1, OutputBlocks: 1}}; !slices.Equal(report.Decode, want) {
		t.Fatalf("decode %v", report.Decode)
	}
}

func TestAZeroTimeIsNow(t *testing.T) {
	router := fleet(t, 1)
	before := time.Now()
	must(router.SelectAndReserve(1, &epp.Request{Tokens: prompt(32, 1)}))(t)
	done, _, err := router.PrefillComplete(1, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	slack := time.Microsecond // a double of seconds
	after := time.Now().Add(slack)
	if done.ReservedAt.Before(before.Add(-slack)) || done.At.Before(done.ReservedAt) || after.Before(done.At) {
		t.Fatalf("reserved %v, done %v", done.ReservedAt, done.At)
	}
}

func TestTimesBeyondADurationAreCut(t *testing.T) {
	router := fleet(t, 1)
	for booking, far := range []time.Time{time.Unix(math.MaxInt32*100, 0), time.Unix(-math.MaxInt32*100, 0)} {
		id := uint64(booking + 1)
		must(router.SelectAndReserve(id, &epp.Request{Tokens: prompt(32, 1), Now: far}))(t)
		done, _, err := router.PrefillComplete(id, far)
		if err != nil {
			t.Fatal(err)
		}
		if done.At.After(start) != far.After(start) {
			t.Fatalf("%v became %v", far, done.At)
		}
	}
}
