package exec_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
)

// BenchmarkLoad reads, imports and compiles, for a batch of two, the model that
// LOAD_MODEL names, which is what creating a session in ONNX Runtime does. With
// -benchtime 1x the metrics are those of one load: the process's peak memory
// and the processor time of all threads.
func BenchmarkLoad(b *testing.B) {
	path := os.Getenv("LOAD_MODEL")
	if path == "" {
		b.Skip("SKIPPED: LOAD_MODEL does not name a model")
	}
	team := kernel.NewTeam(2)
	b.Cleanup(team.Close)
	usage := func() (u syscall.Rusage) {
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u
	}
	before := usage()
	for b.Loop() {
		m, err := onnx.Read(path)
		if err != nil {
			b.Fatal(err)
		}
		im, err := pass.Import(m)
		if err != nil {
			b.Fatal(err)
		}
		g, err := pass.Specialise(im.Graph, pass.Target{Batch: 2})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := exec.Compile(g, exec.Options{Team: team, Own: true}); err != nil {
			b.Fatal(err)
		}
	}
	after := usage()
	spent := func(u syscall.Rusage) int64 { return u.Utime.Nano() + u.Stime.Nano() }
	b.ReportMetric(float64(spent(after)-spent(before))/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(after.Maxrss)/1024, "peak-MB") // Linux counts in kB
}
