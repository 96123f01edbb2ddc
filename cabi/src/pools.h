/** Who may serve a request at all, before anyone is compared. */
#ifndef EPP_POOLS_H
#define EPP_POOLS_H

#include "router.h"

/** Fill question.serve and question.prefill, busy workers included. EPP_OK, a NO_… answer or EPP_E_MEMORY. */
epp_status epp_find_pools(const epp_router *router, const epp_asked *asked);

/** Keep of a pool the ranks of workers that are not busy; returns how many. */
uint32_t epp_leave_out_busy(const epp_router *router, const epp_request *request, uint32_t *slots,
                            uint32_t n);

/** Factor on a worker's cost for the preferred taints it has. */
double epp_taint_factor(const epp_worker_entry *worker, const epp_asked *asked);

#endif
