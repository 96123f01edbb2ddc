/* Marks, flags and counts are sequentially consistent: of a thread that tells and then looks, and another that does
 * the same the other way round, at least one sees the other. A sleeper tells that it sleeps before it looks for
 * the last time. */
#include "lock.h"

#include "map.h"

enum { LAST = EPP_LANES - 1, LOOKS = 500 /* 10 to 25 us */ };

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* --- lanes ----------------------------------------------------------------------------------------- */

bool epp_lanes_init(epp_lanes *lanes) {
    for (uint32_t lane = 0; lane < EPP_LANES; lane++) atomic_init(&lanes->taken[lane].set, 0);
    return pthread_mutex_init(&lanes->crowd, NULL) == 0;
}

void epp_lanes_drop(epp_lanes *lanes) { (void)pthread_mutex_destroy(&lanes->crowd); }

static bool take(epp_mark *taken) {
    unsigned free = 0;
    return atomic_load_explicit(&taken->set, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong(&taken->set, &free, 1);
}

uint32_t epp_lane_take(epp_lanes *lanes) {
    const uint32_t home = (uint32_t)(epp_mix((uint64_t)(uintptr_t)pthread_self()) % LAST);
    for (uint32_t i = 0; i < LAST; i++) {
        const uint32_t lane = home + i < LAST ? home + i : home + i - LAST;
        if (take(&lanes->taken[lane])) return lane;
    }
    (void)pthread_mutex_lock(&lanes->crowd);
    return LAST;
}

void epp_lane_give(epp_lanes *lanes, uint32_t lane) {
    if (lane == LAST)
        (void)pthread_mutex_unlock(&lanes->crowd);
    else
        atomic_store_explicit(&lanes->taken[lane].set, 0, memory_order_release);
}

/* --- life ------------------------------------------------------------------------------------------ */

bool epp_lock_init(epp_lock *lock) {
    for (uint32_t lane = 0; lane < EPP_LANES; lane++) atomic_init(&lock->reading[lane].set, 0);
    atomic_init(&lock->used, 0);
    atomic_init(&lock->writing, false);
    atomic_init(&lock->asleep, false);
    atomic_init(&lock->waiting, 0);
    return pthread_mutex_init(&lock->turn, NULL) == 0 && pthread_mutex_init(&lock->door, NULL) == 0 &&
           pthread_cond_init(&lock->moved, NULL) == 0 && pthread_cond_init(&lock->over, NULL) == 0;
}

void epp_lock_drop(epp_lock *lock) {
    (void)pthread_cond_destroy(&lock->over);
    (void)pthread_cond_destroy(&lock->moved);
    (void)pthread_mutex_destroy(&lock->door);
    (void)pthread_mutex_destroy(&lock->turn);
}

/* --- readers --------------------------------------------------------------------------------------- */

/** Tell a writer that sleeps. */
static void tell(epp_lock *lock) {
    if (!atomic_load(&lock->asleep)) return;
    (void)pthread_mutex_lock(&lock->door);
    (void)pthread_cond_signal(&lock->moved);
    (void)pthread_mutex_unlock(&lock->door);
}

static void wait_for_writer(epp_lock *lock) {
    for (int i = 0; i < LOOKS; i++) {
        if (!atomic_load(&lock->writing)) return;
        pause_briefly();
    }
    (void)pthread_mutex_lock(&lock->door);
    while (atomic_load(&lock->writing)) (void)pthread_cond_wait(&lock->over, &lock->door);
    (void)pthread_mutex_unlock(&lock->door);
}

/** Mark the lane, unless somebody writes. */
static bool try_begin(epp_lock *lock, uint32_t lane) {
    atomic_store(&lock->reading[lane].set, 1);
    if (!atomic_load(&lock->writing)) return true;
    epp_read_end(lock, lane);
    return false;
}

void epp_read_begin(epp_lock *lock, uint32_t lane) {
    const uint_fast64_t bit = UINT64_C(1) << lane;
    if (!(atomic_load(&lock->used) & bit)) (void)atomic_fetch_or(&lock->used, bit);
    if (try_begin(lock, lane)) return;
    (void)atomic_fetch_add(&lock->waiting, 1);
    do wait_for_writer(lock);
    while (!try_begin(lock, lane)); /* a writer that had not yet seen us waiting */
    (void)atomic_fetch_sub(&lock->waiting, 1);
    tell(lock);
}

void epp_read_end(epp_lock *lock, uint32_t lane) {
    atomic_store(&lock->reading[lane].set, 0);
    tell(lock);
}

/* --- writers --------------------------------------------------------------------------------------- */

static void wait_for_none(epp_lock *lock, atomic_uint *readers) {
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load(readers) == 0) return;
        pause_briefly();
    }
    (void)pthread_mutex_lock(&lock->door);
    atomic_store(&lock->asleep, true);
    while (atomic_load(readers) > 0) (void)pthread_cond_wait(&lock->moved, &lock->door);
    atomic_store(&lock->asleep, false);
    (void)pthread_mutex_unlock(&lock->door);
}

void epp_write_claim(epp_lock *lock) {
    for (int i = 0; i < LOOKS; i++) {
        if (pthread_mutex_trylock(&lock->turn) == 0) return;
        pause_briefly();
    }
    (void)pthread_mutex_lock(&lock->turn);
}

void epp_write_enter(epp_lock *lock) {
    wait_for_none(lock, &lock->waiting);
    atomic_store(&lock->writing, true);
    for (uint64_t left = atomic_load(&lock->used); left; left &= left - 1)
        wait_for_none(lock, &lock->reading[__builtin_ctzll(left)].set);
}

void epp_write_end(epp_lock *lock) {
    atomic_store(&lock->writing, false);
    if (atomic_load(&lock->waiting) > 0) {
        (void)pthread_mutex_lock(&lock->door);
        (void)pthread_cond_broadcast(&lock->over);
        (void)pthread_mutex_unlock(&lock->door);
    }
    (void)pthread_mutex_unlock(&lock->turn);
}
