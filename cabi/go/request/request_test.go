package request

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const pool = `
endpoints:
  - {name: a, address: 10.0.0.1, port: 8000, worker_id: 1}
  - {name: b, address: "2001:db8::2", port: 8000, worker_id: 2}
scrape: {enabled: false}
events: {enabled: false}
`

const body = `{"model":"m","messages":[{"role":"user","content":"How do you do?"}]}`

func TestMain(m *testing.M) {
	if os.Getenv(libraryVariable) == "" {
		if os.Getenv("EPP_REQUIRE_ALL") != "" {
			fmt.Fprintln(os.Stderr, libraryVariable+" is not set")
			os.Exit(1)
		}
		fmt.Println("skipped: " + libraryVariable + " is not set")
		return
	}
	os.Exit(m.Run())
}

func open(t *testing.T) *Picker {
	t.Helper()
	picker, err := Open(pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := picker.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	if err := picker.WaitReady(soon(t)); err != nil {
		t.Fatal(err)
	}
	return picker
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func chat() *Request { return &Request{Path: "/v1/chat/completions", Body: []byte(body)} }

func TestMetricsCountRequestsAndNoQuestions(t *testing.T) {
	picker := open(t)
	ask := chat()
	for _, ask.AskOnly = range []bool{false, true} {
		chosen, err := picker.SelectWorker(soon(t), ask)
		if err != nil {
			t.Fatal(err)
		}
		if ask.AskOnly != (chosen.Booking == 0) {
			t.Errorf("ask only %v, booking %d", ask.AskOnly, chosen.Booking)
		}
	}
	page, err := picker.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	total := ""
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "llm_d_epp_scheduler_attempts_total{") {
			total += line[strings.LastIndexByte(line, ' ')+1:]
		}
	}
	if total != "1.0\n" {
		t.Errorf("requests counted: %q", total)
	}
}

func TestSelectAndFinish(t *testing.T) {
	picker := open(t)
	request := chat()
	request.ID = "r-1"
	request.Headers = []Header{{"X-Worker-Instance-Id", "1"}, {"accept", "*/*"}}
	chosen, err := picker.SelectWorker(soon(t), request)
	if err != nil {
		t.Fatal(err)
	}
	if chosen.Destination != "10.0.0.1:8000" && chosen.Destination != "[2001:db8::2]:8000" {
		t.Errorf("destination %q", chosen.Destination)
	}
	if !slices.Contains(chosen.SetHeaders, Header{"x-gateway-destination-endpoint", chosen.Destination}) {
		t.Errorf("headers %v", chosen.SetHeaders)
	}
	if !slices.Equal(chosen.RemoveHeaders, []string{"x-worker-instance-id"}) {
		t.Errorf("a client's pin stays: %v", chosen.RemoveHeaders)
	}
	if chosen.RequestID != "r-1" || chosen.Exactness != TokensEstimated || chosen.Degraded != "no-tokenizer" {
		t.Errorf("%+v", chosen)
	}
	if uint64(len(chosen.Tokens)) != chosen.PromptTokens || chosen.PromptTokens == 0 {
		t.Errorf("%d ids of %d tokens", len(chosen.Tokens), chosen.PromptTokens)
	}
	if err := picker.Renew(chosen.Booking); err != nil {
		t.Error(err)
	}
	if err := picker.Finish(chosen.Booking, Completed); err != nil {
		t.Error(err)
	}
	if err := picker.Finish(chosen.Booking, Completed); !errors.Is(err, ErrUnknownBooking) {
		t.Errorf("finished twice: %v", err)
	}
}

func TestSubsetAndAskOnly(t *testing.T) {
	picker := open(t)
	request := chat()
	request.AskOnly = true
	for _, entry := range []string{"10.0.0.1:8000", "[2001:db8::2]:8000"} {
		request.Subset = []string{entry}
		chosen, err := picker.SelectWorker(soon(t), request)
		if err != nil {
			t.Fatal(err)
		}
		if chosen.Destination != entry || chosen.Booking != 0 {
			t.Errorf("%s booked as %d for %s", chosen.Destination, chosen.Booking, entry)
		}
	}
	request.Subset = []string{}
	var refusal *Refusal
	if _, err := picker.SelectWorker(soon(t), request); !errors.As(err, &refusal) || !errors.Is(err, ErrNoEndpoints) {
		t.Fatalf("an empty subset: %v", err)
	}
	if refusal.HTTPStatus != 503 || !strings.Contains(string(refusal.Body), `"error"`) {
		t.Errorf("%+v", refusal)
	}
}

func TestRefusals(t *testing.T) {
	picker := open(t)
	request := &Request{Path: "/v1/chat/completions", Body: []byte(`{"model":`)}
	if _, err := picker.SelectWorker(soon(t), request); !errors.Is(err, ErrRefused) {
		t.Errorf("a broken body: %v", err)
	}
	if _, err := picker.SelectWorker(soon(t), &Request{Path: "\xff", Body: []byte(body)}); !errors.Is(err, ErrArgument) {
		t.Errorf("a path that is no text: %v", err)
	}
	var nobody *Picker
	if _, err := nobody.SelectWorker(soon(t), chat()); !errors.Is(err, ErrClosed) {
		t.Errorf("no picker: %v", err)
	}
	for _, config := range []string{"", "endpoints: 7", "nonsense: 1", strings.Repeat("x", 2<<20)} {
		if _, err := Open(config); !errors.Is(err, ErrConfig) && !errors.Is(err, ErrArgument) {
			t.Errorf("%.20q: %v", config, err)
		}
	}
}

func TestManyGoroutinesAndClose(t *testing.T) {
	picker := open(t)
	started := make(chan struct{}, 200)
	var group sync.WaitGroup
	for range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				chosen, err := picker.SelectWorker(soon(t), chat())
				if err == nil {
					select {
					case started <- struct{}{}:
					default:
					}
					err = picker.Finish(chosen.Booking, Completed)
				}
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for range 200 {
		<-started
	}
	if err := picker.Close(); err != nil {
		t.Error(err)
	}
	group.Wait()
	if err := picker.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func BenchmarkSelectAndFinish(b *testing.B) {
	picker, err := Open(pool)
	if err != nil {
		b.Fatal(err)
	}
	defer picker.Close()
	for b.Loop() {
		chosen, err := picker.SelectWorker(b.Context(), chat())
		if err == nil {
			err = picker.Finish(chosen.Booking, Completed)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
