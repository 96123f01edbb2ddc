package epp_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// Invariant: whatever the bytes, a payload is applied or counted, and the router stays sound.
func FuzzApplyPayload(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0x93, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0x91, 0x80, 0xc0})
	recorded, _ := filepath.Glob(filepath.Join(goldenRoot, "kvevents", "*.json"))
	for _, path := range recorded {
		var file struct {
			PayloadHex string `json:"payload_hex"`
		}
		if json.Unmarshal(must(os.ReadFile(path))(f), &file) == nil {
			f.Add(must(hex.DecodeString(file.PayloadHex))(f))
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		router := fleet(t, 1)
		must(router.ApplyPayload(1, 0, payload, at(0)))(t)
	})
}

// Invariant: whatever the records and their offsets, a batch is applied or refused, and the router stays sound.
func FuzzApply(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x10\x01\x02\x00\x01\x00\x00\x00"), uint16(2), uint16(32))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\xff\x00\x00\x00"), uint16(1), uint16(0))
	f.Fuzz(func(t *testing.T, records []byte, nHashes, nTokens uint16) {
		router := fleet(t, 1)
		batch := epp.Batch{Hashes: names(int(nHashes), 1), Tokens: prompt(int(nTokens), 1)}
		for ; len(records) >= 11; records = records[11:] {
			batch.Events = append(batch.Events, eventOf(records))
		}
		if _, err := router.Apply(1, 0, batch, at(0)); err != nil {
			refused(t, epp.ErrArgument, err)
		}
	})
}

// eventOf spends a byte on each field; 0x80 and above mean numbers at the far end of their type.
func eventOf(record []byte) epp.Event {
	field := func(i int) uint64 { return uint64(int64(int8(record[i]))) }
	return epp.Event{
		Kind: epp.EventKind(field(0)), Tier: epp.Tier(field(1)), Flags: uint32(field(2)), BlockTokens: uint32(field(3)),
		ParentHash: field(4), NamespaceSeed: field(5), FirstHash: field(6), NumBlocks: field(7), FirstToken: field(8),
		FirstMMCount: field(9), FirstMMHash: field(10),
	}
}

// Invariant: whatever is asked, a request is answered or refused, and nothing stays booked that was refused.
func FuzzSelectAndReserve(f *testing.F) {
	f.Add(uint32(0), int64(0), int32(-1), 1.0, 0.0, []byte("abcdefgh"))
	f.Add(uint32(1), int64(-1), int32(-2), -1.0, 2.0, []byte(nil))
	f.Fuzz(func(t *testing.T, policy uint32, lease int64, rank int32, credit, weight float64, text []byte) {
		router := fleet(t, 1, 2)
		params := epp.DefaultCostParams()
		params.OverlapCredit, params.Temperature = credit, weight
		request := &epp.Request{
			Policy: epp.Policy(policy % 8), Lease: time.Duration(lease), Pin: &epp.Pin{WorkerID: 1, Rank: rank},
			CostParams: &params, Taints: []epp.Taint{{Name: string(text), Weight: weight}}, Explain: rank%2 == 0,
			Namespace: epp.Namespace{LoRA: string(text)}, Busy: epp.BusyLimits{PrefillTokens: &weight},
		}
		for ; len(text) >= 4; text = text[4:] {
			request.Tokens = append(request.Tokens, binary.LittleEndian.Uint32(text))
		}
		_, err := router.SelectAndReserve(1, request)
		booked := must(router.Stats())(t).Bookings
		if (err == nil) != (booked == 1) {
			t.Fatalf("error %v, %d bookings", err, booked)
		}
	})
}
