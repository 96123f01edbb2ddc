package kvscorer

import (
	"time"

	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/datalayer"
	"sigs.k8s.io/gateway-api-inference-extension/pkg/epp/framework/interface/plugin"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// worker is the id of a pod, which the router knows from then on.
func (s *Scorer) worker(pod *datalayer.EndpointMetadata) (uint64, error) {
	name := pod.NamespacedName.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.known[name]; ok {
		return id, nil
	}
	id := epp.WorkerID(name)
	worker := epp.Worker{ID: id, BlockTokens: s.parameters.BlockTokens, NoEvents: !s.parameters.KVEvents}
	if _, err := s.router.UpsertWorker(worker); err != nil {
		return 0, err
	}
	s.known[name] = id
	return id, nil
}

// Tidy ends leases that are over and forgets the pods that are not listed.
func (s *Scorer) Tidy(pods []string, now time.Time) {
	if ended, err := s.router.Expire(now); err == nil {
		s.forget(ended)
	}
	there := make(map[string]bool, len(pods))
	for _, pod := range pods {
		there[pod] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, id := range s.known {
		if !there[name] {
			delete(s.known, name)
			if dropped, err := s.router.RemoveWorker(id); err == nil {
				s.forget(dropped)
			}
		}
	}
}

// forget drops requests whose bookings are gone.
func (s *Scorer) forget(bookings []uint64) {
	gone := make(map[any]bool, len(bookings))
	for _, booking := range bookings {
		gone[booking] = true
	}
	if len(gone) == 0 {
		return
	}
	s.inFlight.Range(func(request, booking any) bool {
		if gone[booking] {
			s.inFlight.Delete(request)
		}
		return true
	})
}

func (s *Scorer) keepHouse(handle plugin.Handle) {
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		select {
		case <-handle.Context().Done():
			return
		case now := <-tick.C:
			pods := handle.PodList()
			names := make([]string, len(pods))
			for i, pod := range pods {
				names[i] = pod.String()
			}
			s.Tidy(names, now)
		}
	}
}
