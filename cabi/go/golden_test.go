package epp_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// goldenRoot holds the vectors that every language's tests read. A vendored copy of the module has none.
var goldenRoot = filepath.Join("..", "..", "tests", "golden")

func readGolden(t *testing.T, into any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{goldenRoot}, path...)...))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("not in the checkout: the golden vectors are beside the module, not in it")
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// u64s are numbers written as decimal text, because JSON's are not exact.
type u64 uint64

func (u *u64) UnmarshalJSON(data []byte) error {
	return json.Unmarshal([]byte(strings.Trim(string(data), `"`)), (*uint64)(u))
}

func plain(us []u64) []uint64 {
	out := make([]uint64, len(us))
	for i, u := range us {
		out[i] = uint64(u)
	}
	return out
}

type blockVector struct {
	ID          int
	Tokens      [][3]uint32 // runs: first, count, step
	BlockTokens uint32      `json:"block_tokens"`
	LoRA, Salt  string
	Seed        u64
	MMHashes    [][]u64 `json:"mm_hashes"`
	Eagle       bool
	Local       []u64
	Sequence    []u64
}

func (v *blockVector) prompt() (tokens []uint32) {
	for _, run := range v.Tokens {
		for i := range run[1] {
			tokens = append(tokens, run[0]+i*run[2])
		}
	}
	return tokens
}

func (v *blockVector) options() epp.HashOptions {
	options := epp.HashOptions{Namespace: epp.Namespace{LoRA: v.LoRA, Salt: v.Salt}, Eagle: v.Eagle}
	for _, block := range v.MMHashes {
		options.MMCounts = append(options.MMCounts, uint32(len(block)))
		options.MMHashes = append(options.MMHashes, plain(block)...)
	}
	return options
}

func TestBlockHashesAreTheGoldenOnes(t *testing.T) {
	var file struct{ Vectors []blockVector }
	readGolden(t, &file, "hashes", "blocks.json")
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range file.Vectors {
		local, chain, err := epp.BlockHashes(v.prompt(), v.BlockTokens, v.options())
		if err != nil {
			t.Fatalf("vector %d: %v", v.ID, err)
		}
		if !slices.Equal(local, plain(v.Local)) {
			t.Errorf("vector %d: local %v, want %v", v.ID, local, v.Local)
		}
		if v.Sequence != nil && !slices.Equal(chain, plain(v.Sequence)) {
			t.Errorf("vector %d: chain %v, want %v", v.ID, chain, v.Sequence)
		}
		if v.Seed != 0 {
			equal(t, "seed", v.options().Namespace.Seed(), uint64(v.Seed))
		}
	}
}

func TestNamesAreTheGoldenOnes(t *testing.T) {
	var file struct {
		SeedParts []struct {
			LoRA, Salt string
			Part       u64
		} `json:"seed_parts"`
		WorkerID []struct {
			Namespace, Name string
			WorkerID        u64 `json:"worker_id"`
		} `json:"worker_id"`
	}
	readGolden(t, &file, "hashes", "names.json")
	if len(file.SeedParts) == 0 || len(file.WorkerID) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range file.SeedParts {
		equal(t, "seed part", epp.Namespace{LoRA: v.LoRA, Salt: v.Salt}.Seed()-1337, uint64(v.Part))
	}
	for _, v := range file.WorkerID {
		equal(t, "worker id", epp.WorkerID(v.Namespace+"/"+v.Name), uint64(v.WorkerID))
	}
}

type eventVector struct {
	Kind        string
	Hashes      []u64
	Parent      *u64
	Tokens      []uint32
	BlockTokens uint32 `json:"block_tokens"`
	Tier        string
	LoRA, Salt  string
	MMHashes    [][]u64 `json:"mm_hashes"`
}

func (v *eventVector) apply(t *testing.T, router *epp.Router) epp.Report {
	t.Helper()
	tier, ok := map[string]epp.Tier{
		"DEVICE": epp.TierDevice, "HOST": epp.TierHost, "DISK": epp.TierDisk, "EXTERNAL": epp.TierExternal,
	}[v.Tier]
	if !ok && v.Kind != "cleared" {
		t.Fatalf("tier %q", v.Tier)
	}
	switch v.Kind {
	case "stored":
		stored := epp.Stored{
			Hashes: plain(v.Hashes), Tokens: v.Tokens, BlockTokens: v.BlockTokens, Parent: (*uint64)(v.Parent),
			Namespace: epp.Namespace{LoRA: v.LoRA, Salt: v.Salt}, Tier: tier,
		}
		for _, block := range v.MMHashes {
			stored.MMCounts = append(stored.MMCounts, uint32(len(block)))
			stored.MMHashes = append(stored.MMHashes, plain(block)...)
		}
		return must(router.ApplyStored(1, 0, stored, at(0)))(t)
	case "removed":
		return must(router.ApplyRemoved(1, 0, plain(v.Hashes), tier, at(0)))(t)
	case "cleared":
		return must(router.ApplyCleared(1, 0, at(0)))(t)
	}
	t.Fatalf("kind %q", v.Kind)
	return epp.Report{}
}

// A message of an engine does exactly what its events, as recorded beside it, do one by one.
func TestRecordedEngineMessagesDoWhatTheirEventsDo(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(goldenRoot, "kvevents", "*.json"))
	if len(files) == 0 {
		t.Skip("not in the checkout: the golden vectors are beside the module, not in it")
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var file struct {
				PayloadHex string `json:"payload_hex"`
				Events     []eventVector
				Ignored    [][2]any // reason, count
			}
			readGolden(t, &file, "kvevents", filepath.Base(path))
			want := sumOfEvents(t, file.Events)
			for _, entry := range file.Ignored {
				want[entry[0].(string)] += uint64(entry[1].(float64))
			}
			payload := must(hex.DecodeString(file.PayloadHex))(t)
			got := tally(must(worker1(t).ApplyPayload(1, 0, payload, at(0)))(t))
			if !maps.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
		})
	}
}

func worker1(t *testing.T) *epp.Router {
	t.Helper()
	router := newRouter(t, epp.Options{})
	must(router.UpsertWorker(epp.Worker{ID: 1}))(t)
	return router
}

func sumOfEvents(t *testing.T, events []eventVector) map[string]uint64 {
	t.Helper()
	router, sum := worker1(t), map[string]uint64{}
	for _, event := range events {
		for what, n := range tally(event.apply(t, router)) {
			sum[what] += n
		}
	}
	return sum
}

// tally is what a report counts, without zeros.
func tally(report epp.Report) map[string]uint64 {
	counts := map[string]uint64{
		"stored": report.StoredBlocks, "removed": report.RemovedBlocks, "cleared": report.Cleared,
	}
	for reason, n := range report.Ignored {
		counts[epp.Ignored(reason).String()] = n
	}
	maps.DeleteFunc(counts, func(_ string, n uint64) bool { return n == 0 })
	return counts
}
