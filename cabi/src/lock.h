/** Readers side by side, writers alone (decision 0120).
 *
 *  A call first takes a *lane*, which is a number that no other call has meanwhile; working memory is kept by lane.
 *  A reader marks its own lane and looks whether somebody writes; a writer says that it writes and looks at the
 *  lanes. So readers share no cache line that anybody changes unless somebody writes:
 *
 *      lane 0   1   <- marked by its reader alone           writing   <- set by the writer
 *      lane 1   0                                           waiting   <- readers it turned away
 *
 *  Fair in phases: a writer begins when the readers that the writer before it turned away are in, so a reader waits
 *  for one writer at most; and it turns away who comes after it, so it waits for readers under way at most. Whoever
 *  waits looks for some microseconds before it sleeps, for most holds are shorter than a sleep. */
#ifndef EPP_LOCK_H
#define EPP_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { EPP_LANES = 64 };

/** A mark of a lane. */
typedef struct epp_mark {
    atomic_uint set;
    char apart[60]; /* lanes do not share cache lines */
} epp_mark;

/** Who has which lane. */
typedef struct epp_lanes {
    epp_mark taken[EPP_LANES];
    pthread_mutex_t crowd; /* held with the last lane, by turns when all others are taken */
} epp_lanes;

typedef struct epp_lock {
    epp_mark reading[EPP_LANES];
    atomic_uint_fast64_t used; /* lanes that ever had a reader: the others need no look */
    atomic_bool writing;
    atomic_bool asleep; /* the writer, until readers have come in or gone */
    atomic_uint waiting;
    pthread_mutex_t turn; /* held by the writer */
    pthread_mutex_t door; /* held to fall asleep and to wake */
    pthread_cond_t moved; /* readers came in or went */
    pthread_cond_t over;  /* the writer is done */
} epp_lock;

/** False: the system has no room. */
bool epp_lanes_init(epp_lanes *lanes);
void epp_lanes_drop(epp_lanes *lanes);

/** A lane for the calling thread until `epp_lane_give`. Take one at a time. */
uint32_t epp_lane_take(epp_lanes *lanes);
void epp_lane_give(epp_lanes *lanes, uint32_t lane);

/** False: the system has no room. */
bool epp_lock_init(epp_lock *lock);
void epp_lock_drop(epp_lock *lock);

/** Read what the lock guards, beside other readers. */
void epp_read_begin(epp_lock *lock, uint32_t lane);
void epp_read_end(epp_lock *lock, uint32_t lane);

/** Be the only one who may change what the lock guards, beside readers: for looking before changing. Then
 *  `epp_write_enter`, from which on nobody reads either. */
void epp_write_claim(epp_lock *lock);
void epp_write_enter(epp_lock *lock);

/** Change what the lock guards, alone; not while reading it. */
static inline void epp_write_begin(epp_lock *lock) {
    epp_write_claim(lock);
    epp_write_enter(lock);
}

/** End it, or a claim that was not entered. */
void epp_write_end(epp_lock *lock);

#endif
