/** Engine messages: msgpack `[ts, [event, ...], rank]` to a flat batch.
 *
 *  An event is a map with a `type` (vLLM from 0.24 on, SGLang, Dynamo's mocker) or an array whose first item is
 *  the type (vLLM up to 0.16). Missing keys count as null, unknown keys and further items are passed:
 *
 *    BlockStored       block_hashes [int]       names; a byte string among them: hash-form
 *                      parent_block_hash int?   (second in the array form)
 *                      token_ids [int]          as many as blocks times block_size, else malformed
 *                      block_size int           1 .. 65536
 *                      lora_id int|text?, medium text?, lora_name text?, extra_keys [..]?
 *                      array form, four more of any type: the first list is block_mm_infos, the first integer
 *                      group_idx, the first text kv_cache_spec_kind
 *                      map form: these by name, and cache_salt text?, locality text?
 *    BlockRemoved      block_hashes, medium, group_idx; map form: locality
 *    AllBlocksCleared
 *
 *  kv_cache_spec_kind other than null, full_attention, mla_attention, sink_full_attention: `kind`, and the group is
 *  remembered, because a removal names only its group. A group outside 0 .. 63, of which no memory is kept: `kind`
 *  too, whatever it holds. lora_id as a text: at most 256 bytes, else malformed. Names of media and localities
 *  are compared without regard to ASCII case. locality other than null or LOCAL: `locality`. An adapter is
 *  lora_name, else "lora-id:N". extra_keys hold, per block, null or a list: the adapter's name first, then a thing
 *  for each image, and on the first block of a sequence the cache salt, its last text unless the next block
 *  has it too; everything else becomes a content hash, so that tokens alone do not match it. */
#ifndef EPP_ENGINE_H
#define EPP_ENGINE_H

#include "apply.h"
#include "msgpack.h"

/** Decode into a message. `groups` remembers the slot's foreign groups. False: no memory. */
bool epp_decode_payload(epp_message *message, const void *payload, size_t n_payload, uint64_t *groups,
                        epp_batch *batch, uint64_t ignored[EPP_IGNORED_COUNT]);

#endif
