package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Team runs the units of a kernel on a fixed number of threads. Its goroutines
// live until Close; between two calls of For that follow each other closely
// they spin, so that handing out work costs a microsecond or two, and after
// that they sleep.
//
// A nil *Team is one thread.
type Team struct {
	workers []*Worker // workers[0] is whoever calls For
	serial  sync.Mutex

	spareMu sync.Mutex
	spare   []*Worker // memory that kernels share between units; see borrow

	// The job being run. Written only while no worker has joined.
	body   func(w *Worker, unit int)
	shares []share // of the units, one per worker

	// state is epoch<<epochShift | open | joined: how many workers are inside
	// the current job, whether more may join, and which job it is. For waits
	// for those who joined, not for sleepers that were too late.
	state  atomic.Uint64
	caller parker
	closed bool

	failed atomic.Bool // body panicked; failure holds the first value
	failMu sync.Mutex
	panics []any
}

// share is a run of neighbouring units. Its worker takes them from the first on,
// and others do when they have none left. So a worker meets the same part of
// the same tensors in one kernel after the other, and in one step after the
// other, and finds it in its own cache.
type share struct {
	next atomic.Int64 // first unit not yet taken
	end  int64
	_    [48]byte // a line of the cache each
}

const (
	joinedMask = 1<<16 - 1
	openBit    = 1 << 16
	epochShift = 17

	// spins is how often a waiter looks before it sleeps, and yieldEvery how
	// often it lets other goroutines run meanwhile; together about 30 µs.
	spins      = 1 << 14
	yieldEvery = 1 << 9
)

// NewTeam starts a team; threads below 1 means 1.
func NewTeam(threads int) *Team {
	threads = min(max(threads, 1), joinedMask)
	t := &Team{caller: newParker(), shares: make([]share, threads)}
	for id := range threads {
		t.workers = append(t.workers, &Worker{ID: id, parker: newParker()})
	}
	for _, w := range t.workers[1:] {
		go t.serve(w)
	}
	return t
}

// Threads returns how many bodies run at once.
func (t *Team) Threads() int {
	if t == nil {
		return 1
	}
	return len(t.workers)
}

// For runs body for each unit from 0 to units-1, in any order and at once on
// up to Threads goroutines, the caller's being one (worker 0), and returns
// when all are done. Units are handed out as workers become free, so body must
// give the same result whoever runs it. If a body panics, units not yet begun
// are dropped and For panics with the first value.
//
// A body must not call For on its own team. For allocates nothing; a closure
// made at the call may.
func (t *Team) For(units int, body func(w *Worker, unit int)) {
	if t == nil {
		w := lone.Get().(*Worker)
		defer lone.Put(w)
		inline(w, units, body)
		return
	}
	t.serial.Lock()
	defer t.serial.Unlock()
	if units <= 1 || len(t.workers) == 1 || t.closed {
		inline(t.workers[0], units, body)
		return
	}
	t.body = body
	for i := range t.shares {
		t.shares[i].next.Store(int64(i * units / len(t.shares)))
		t.shares[i].end = int64((i + 1) * units / len(t.shares))
	}
	epoch := t.state.Load()>>epochShift + 1
	t.state.Store(epoch<<epochShift | openBit)
	for _, w := range t.workers[1:min(units, len(t.workers))] {
		w.parker.wake()
	}
	t.work(t.workers[0])
	t.state.Add(^uint64(openBit - 1)) // close: subtract openBit
	t.caller.wait(t.idle)
	t.body = nil
	t.reraise()
}

// Close ends the team's goroutines. For still works afterwards, on the caller alone.
func (t *Team) Close() {
	if t == nil {
		return
	}
	t.serial.Lock()
	defer t.serial.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	for _, w := range t.workers[1:] {
		w.quit.Store(true)
		w.parker.wake()
	}
}

// borrow lends a kernel scratch memory that all its units may use until
// giveBack: what one kernel leaves, the next takes over.
func (t *Team) borrow() *Worker {
	if t == nil {
		return lone.Get().(*Worker)
	}
	t.spareMu.Lock()
	defer t.spareMu.Unlock()
	if n := len(t.spare); n > 0 {
		w := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return w
	}
	return &Worker{}
}

func (t *Team) giveBack(w *Worker) {
	if t == nil {
		lone.Put(w)
		return
	}
	t.spareMu.Lock()
	t.spare = append(t.spare, w)
	t.spareMu.Unlock()
}

// lone keeps the scratch memory of nil teams.
var lone = sync.Pool{New: func() any { return &Worker{} }}

func inline(w *Worker, units int, body func(w *Worker, unit int)) {
	for unit := range units {
		body(w, unit)
	}
}

// serve is the life of every worker but the caller.
func (t *Team) serve(w *Worker) {
	var seen uint64 // epoch of the last job joined
	called := func() bool {
		s := t.state.Load()
		return w.quit.Load() || s&openBit != 0 && s>>epochShift != seen
	}
	for {
		w.parker.wait(called)
		if w.quit.Load() {
			return
		}
		s := t.state.Load()
		if s&openBit == 0 || s>>epochShift == seen || !t.state.CompareAndSwap(s, s+1) {
			continue
		}
		seen = s >> epochShift
		t.work(w)
		if s := t.state.Add(^uint64(0)); s&(openBit|joinedMask) == 0 {
			t.caller.wake()
		}
	}
}

// idle tells whether no worker is inside the job.
func (t *Team) idle() bool { return t.state.Load()&joinedMask == 0 }

// work takes units until none is left, the worker's own first.
func (t *Team) work(w *Worker) {
	defer t.caught()
	for i := range t.shares {
		s := &t.shares[(w.ID+i)%len(t.shares)]
		for {
			unit := s.next.Add(1) - 1
			if unit >= s.end {
				break
			}
			t.body(w, int(unit))
		}
	}
}

// caught, deferred, keeps a body's panic for the caller of For.
func (t *Team) caught() {
	if v := recover(); v != nil {
		t.failMu.Lock()
		t.panics = append(t.panics, v)
		t.failMu.Unlock()
		t.failed.Store(true)
		for i := range t.shares {
			t.shares[i].next.Store(t.shares[i].end)
		}
	}
}

func (t *Team) reraise() {
	if t.failed.Load() {
		v := t.panics[0]
		t.panics = nil
		t.failed.Store(false)
		panic(v)
	}
}

// parker lets one goroutine wait for a condition that others make true.
type parker struct {
	asleep *atomic.Bool
	bell   chan struct{}
}

func newParker() parker { return parker{new(atomic.Bool), make(chan struct{}, 1)} }

// wait returns once ready does: it spins for a while and then sleeps.
func (p parker) wait(ready func() bool) {
	for i := 1; i <= spins; i++ {
		if ready() {
			return
		}
		if i%yieldEvery == 0 {
			runtime.Gosched()
		}
	}
	for !ready() {
		p.asleep.Store(true)
		// Whoever made it ready before the store above did not ring.
		if ready() && p.asleep.CompareAndSwap(true, false) {
			return
		}
		<-p.bell
	}
}

// wake is called after the condition became true.
func (p parker) wake() {
	if p.asleep.CompareAndSwap(true, false) {
		p.bell <- struct{}{}
	}
}
