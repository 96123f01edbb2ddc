package epp

// #include "epp.h"
import "C"

import "unsafe"

// Records that C reads or writes in place lie in memory exactly as its structs do: an index that is not 0
// does not compile.
var (
	_ = same[unsafe.Sizeof(Event{})-C.sizeof_epp_event]
	_ = same[unsafe.Offsetof(Event{}.Kind)-unsafe.Offsetof(C.epp_event{}.kind)]
	_ = same[unsafe.Offsetof(Event{}.Tier)-unsafe.Offsetof(C.epp_event{}.tier)]
	_ = same[unsafe.Offsetof(Event{}.Flags)-unsafe.Offsetof(C.epp_event{}.flags)]
	_ = same[unsafe.Offsetof(Event{}.BlockTokens)-unsafe.Offsetof(C.epp_event{}.block_tokens)]
	_ = same[unsafe.Offsetof(Event{}.ParentHash)-unsafe.Offsetof(C.epp_event{}.parent_hash)]
	_ = same[unsafe.Offsetof(Event{}.NamespaceSeed)-unsafe.Offsetof(C.epp_event{}.namespace_seed)]
	_ = same[unsafe.Offsetof(Event{}.FirstHash)-unsafe.Offsetof(C.epp_event{}.first_hash)]
	_ = same[unsafe.Offsetof(Event{}.NumBlocks)-unsafe.Offsetof(C.epp_event{}.n_blocks)]
	_ = same[unsafe.Offsetof(Event{}.FirstToken)-unsafe.Offsetof(C.epp_event{}.first_token)]
	_ = same[unsafe.Offsetof(Event{}.FirstMMCount)-unsafe.Offsetof(C.epp_event{}.first_mm_count)]
	_ = same[unsafe.Offsetof(Event{}.FirstMMHash)-unsafe.Offsetof(C.epp_event{}.first_mm_hash)]

	_ = same[unsafe.Sizeof(LoadSample{})-C.sizeof_epp_load_sample]
	_ = same[unsafe.Offsetof(LoadSample{}.WaitingRequests)-unsafe.Offsetof(C.epp_load_sample{}.waiting_requests)]
	_ = same[unsafe.Offsetof(LoadSample{}.RunningRequests)-unsafe.Offsetof(C.epp_load_sample{}.running_requests)]
	_ = same[unsafe.Offsetof(LoadSample{}.KVUsage)-unsafe.Offsetof(C.epp_load_sample{}.kv_usage)]

	_ = same[unsafe.Sizeof(Terms{})-C.sizeof_epp_terms]
	_ = same[unsafe.Offsetof(Terms{}.WorkerID)-unsafe.Offsetof(C.epp_terms{}.worker_id)]
	_ = same[unsafe.Offsetof(Terms{}.Rank)-unsafe.Offsetof(C.epp_terms{}.rank)]
	_ = same[unsafe.Offsetof(Terms{}.Phase)-unsafe.Offsetof(C.epp_terms{}.phase)]
	_ = same[unsafe.Offsetof(Terms{}.DeviceBlocks)-unsafe.Offsetof(C.epp_terms{}.device_blocks)]
	_ = same[unsafe.Offsetof(Terms{}.HostBlocks)-unsafe.Offsetof(C.epp_terms{}.host_blocks)]
	_ = same[unsafe.Offsetof(Terms{}.DiskBlocks)-unsafe.Offsetof(C.epp_terms{}.disk_blocks)]
	_ = same[unsafe.Offsetof(Terms{}.RequestBlocks)-unsafe.Offsetof(C.epp_terms{}.request_blocks)]
	_ = same[unsafe.Offsetof(Terms{}.CachedTokens)-unsafe.Offsetof(C.epp_terms{}.cached_tokens)]
	_ = same[unsafe.Offsetof(Terms{}.UncachedTokens)-unsafe.Offsetof(C.epp_terms{}.uncached_tokens)]
	_ = same[unsafe.Offsetof(Terms{}.ActivePrefillTokens)-unsafe.Offsetof(C.epp_terms{}.active_prefill_tokens)]
	_ = same[unsafe.Offsetof(Terms{}.PotentialDecodeBlocks)-unsafe.Offsetof(C.epp_terms{}.potential_decode_blocks)]
	_ = same[unsafe.Offsetof(Terms{}.ActiveRequests)-unsafe.Offsetof(C.epp_terms{}.active_requests)]
	_ = same[unsafe.Offsetof(Terms{}.Load)-unsafe.Offsetof(C.epp_terms{}.load)]
	_ = same[unsafe.Offsetof(Terms{}.PrefillTokensPerSecond)-unsafe.Offsetof(C.epp_terms{}.prefill_tokens_per_s)]
	_ = same[unsafe.Offsetof(Terms{}.PredictedTTFTSeconds)-unsafe.Offsetof(C.epp_terms{}.predicted_ttft_s)]
	_ = same[unsafe.Offsetof(Terms{}.Cost)-unsafe.Offsetof(C.epp_terms{}.cost)]

	_ = same[unsafe.Sizeof(RankLoad{})-C.sizeof_epp_rank_load]
	_ = same[unsafe.Offsetof(RankLoad{}.WorkerID)-unsafe.Offsetof(C.epp_rank_load{}.worker_id)]
	_ = same[unsafe.Offsetof(RankLoad{}.Rank)-unsafe.Offsetof(C.epp_rank_load{}.rank)]
	_ = same[unsafe.Offsetof(RankLoad{}.ActiveRequests)-unsafe.Offsetof(C.epp_rank_load{}.active_requests)]
	_ = same[unsafe.Offsetof(RankLoad{}.ActivePrefillTokens)-unsafe.Offsetof(C.epp_rank_load{}.active_prefill_tokens)]
	_ = same[unsafe.Offsetof(RankLoad{}.ActiveDecodeBlocks)-unsafe.Offsetof(C.epp_rank_load{}.active_decode_blocks)]
	_ = same[unsafe.Offsetof(RankLoad{}.ResidentBlocks)-unsafe.Offsetof(C.epp_rank_load{}.resident_blocks)]
	_ = same[unsafe.Offsetof(RankLoad{}.PrefillTokensPerSecond)-unsafe.Offsetof(C.epp_rank_load{}.prefill_tokens_per_s)]
	_ = same[unsafe.Offsetof(RankLoad{}.Scraped)-unsafe.Offsetof(C.epp_rank_load{}.scraped)]

	_ = same[unsafe.Sizeof(Stats{})-C.sizeof_epp_stats]
	_ = same[unsafe.Offsetof(Stats{}.Workers)-unsafe.Offsetof(C.epp_stats{}.workers)]
	_ = same[unsafe.Offsetof(Stats{}.Ranks)-unsafe.Offsetof(C.epp_stats{}.ranks)]
	_ = same[unsafe.Offsetof(Stats{}.ResidentPairs)-unsafe.Offsetof(C.epp_stats{}.resident_pairs)]
	_ = same[unsafe.Offsetof(Stats{}.DistinctBlocks)-unsafe.Offsetof(C.epp_stats{}.distinct_blocks)]
	_ = same[unsafe.Offsetof(Stats{}.Bookings)-unsafe.Offsetof(C.epp_stats{}.bookings)]
	_ = same[unsafe.Offsetof(Stats{}.PredictedBlocks)-unsafe.Offsetof(C.epp_stats{}.predicted_blocks)]
	_ = same[unsafe.Offsetof(Stats{}.MemoryBytes)-unsafe.Offsetof(C.epp_stats{}.memory_bytes)]
	_ = same[unsafe.Offsetof(Stats{}.IndexBytes)-unsafe.Offsetof(C.epp_stats{}.index_bytes)]

	_ = same[unsafe.Sizeof(SnapshotReport{})-C.sizeof_epp_load_report]
	_ = same[unsafe.Offsetof(SnapshotReport{}.StoredPairs)-unsafe.Offsetof(C.epp_load_report{}.stored_pairs)]
	_ = same[unsafe.Offsetof(SnapshotReport{}.SkippedPairs)-unsafe.Offsetof(C.epp_load_report{}.skipped_pairs)]
	_ = same[unsafe.Offsetof(SnapshotReport{}.SkippedRanks)-unsafe.Offsetof(C.epp_load_report{}.skipped_ranks)]
)

var same [1]struct{}
